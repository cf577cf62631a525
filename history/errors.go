package history

import "errors"

var (
	// ErrConflict: the stream's last event is not the one decided from.
	ErrConflict = errors.New("journal: another writer was first")
	// ErrOutcomeUnknown: no answer came; the events may or may not be stored.
	ErrOutcomeUnknown = errors.New("journal: outcome unknown")
)

// ErrForeignJournal means that the view was folded from another journal. It
// halts until an operator decides.
var ErrForeignJournal = errors.New("projections: the view belongs to another journal")
