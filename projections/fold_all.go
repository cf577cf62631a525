package projections

import "github.com/tidemark-engine/tidemark/history"

// Whole is the fold of a view that keeps every message as it is, also those
// that this build cannot read: nothing is poison to it.
func Whole(batch []history.Message) Changes { return Changes{Messages: batch} }
