package readmodel

import "github.com/tidemark-engine/tidemark/events"

// DocVersion is one version of a document.
type DocVersion struct {
	Doc
	Type      string // of the event
	Writer    string
	Actor     string // the authenticated sender; empty = there is no identity
	CommandID string
	Deleted   bool
	Erased    bool // the content was encrypted with a key that was destroyed
}

// Version is one version of an entry, or a losing write.
type Version struct {
	Entry
	Actor     string // the authenticated sender; empty = there is no identity
	CommandID string
	Kind      string // "set", "deleted", "superseded", "rejected"
	Reason    string // error code of a rejection
	Erased    bool   // the content was encrypted with a key that was destroyed
}

// VersionOf folds an event of an entry, or of its losing writes, into a version.
func VersionOf(rec *events.Record) (Version, error) {
	v := Version{Actor: rec.Actor, CommandID: rec.CommandID, Erased: rec.Erased, Entry: Entry{
		Agent: rec.ID, Key: rec.Key, Timestamp: rec.Timestamp, Writer: rec.Writer,
		Version: rec.Version, Revision: rec.Revision, UpdatedAt: rec.RecordedAt, Digest: rec.Digest,
	}}
	switch rec.Type {
	case events.StateSet, events.StateDeleted:
		d, err := events.DecodeStateWrite(rec.Data)
		v.Value, v.Kind = d.Value, "set"
		if rec.Stored().Type == events.StateDeleted {
			v.Kind = "deleted"
		}
		return v, err
	}
	l, err := events.DecodeStateLoss(rec.Data)
	v.Value, v.Kind, v.Reason = l.Value, "superseded", l.Reason
	v.Version = l.CurrentVersion // the version that won
	if rec.Type == events.StateRejected {
		v.Kind = "rejected"
	}
	return v, err
}
