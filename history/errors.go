package history

import "errors"

var (
	// ErrConflict means that another writer appended to the aggregate after the
	// event that the append expects as the last.
	ErrConflict = errors.New("journal: another writer was first")
	// ErrOutcomeUnknown means that the append got no usable reply: the events may
	// or may not be stored.
	ErrOutcomeUnknown = errors.New("journal: outcome unknown")
)

// ErrForeignJournal means that the checkpoint of a view does not fit the journal:
// it is of another journal, or the journal has lost events. The view halts until an
// operator decides.
var ErrForeignJournal = errors.New("the view belongs to another journal")
