package readmodel

// DocVersion is one line of a document's history.
type DocVersion struct {
	Doc
	Type      string // of the event
	Writer    string
	CommandID string
	Deleted   bool
}

// Version is one line of an entry's history.
type Version struct {
	Entry
	CommandID string
	Kind      string // "set", "deleted", "superseded", "rejected"
	Reason    string // error code of a rejection
}
