package projections

// Folder is a target with a fold of its own, instead of Fold.
type Folder interface {
	Fold(batch []Message) Changes
}

// Whole is the fold of a view that keeps every message as it is, also those
// that this build cannot read: nothing is poison to it.
func Whole(batch []Message) Changes { return Changes{Messages: batch} }
