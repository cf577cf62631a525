package readmodel

import (
	"context"
	"strconv"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
)

// This file answers what is asked about one document. The journal's end
// carries its state, so one read of the leader is enough and never stale: a
// token is only checked, there is nothing to wait for.

// DocPast is the journal as it knows documents.
type DocPast interface {
	// LastDoc is the document as the journal's leader has it; found is false
	// when it does not exist, revision is then of its end, 0 = it never did.
	LastDoc(ctx context.Context, kind, id, key string) (d Doc, found bool, revision uint64, err error)
	// DocAsOf is the same as of a revision or, with revision 0, of a time: after
	// the last event, in the journal's order, that was recorded not later.
	DocAsOf(ctx context.Context, kind, id, key string, revision uint64, at time.Time) (d Doc, found bool, err error)
	// ConfigAsOf are those of an agent's configuration entries that were there.
	ConfigAsOf(ctx context.Context, agent string, keys []string, revision uint64, at time.Time) ([]Doc, error)
	// DocHistory are a document's versions below a revision (0 = from the end),
	// newest first.
	DocHistory(ctx context.Context, kind, id, key string, below uint64, limit int) ([]DocVersion, error)
	// ConfigKeys are an agent's configuration keys after a key and with a
	// prefix, sorted, those of unset entries included.
	ConfigKeys(ctx context.Context, agent, prefix, after string, limit int) ([]string, error)
	// Changed is the number of an agent's entries that events after a revision
	// are of.
	Changed(ctx context.Context, agent string, after uint64) (int, error)
}

// DocVersion is one line of a document's history.
type DocVersion struct {
	Doc
	Type      string // of the event
	Writer    string
	CommandID string
	Deleted   bool
}

// docKey is the key that a question about a document of a kind names.
func docKey(kind string, in *question) (string, error) {
	if kind != KindConfig {
		return "", nil
	}
	return in.Key, domain.CheckKey(in.Key)
}

func docGet(kind string) func(*Questions, context.Context, string, *question) ([]byte, error) {
	return func(q *Questions, ctx context.Context, id string, in *question) ([]byte, error) {
		key, err := docKey(kind, in)
		if err != nil {
			return nil, err
		}
		if _, err = q.token(in); err != nil {
			return nil, err
		}
		past, err := in.bound()
		if err != nil {
			return nil, err
		}
		d, err := q.doc(ctx, kind, id, key, past)
		if err != nil {
			return nil, err
		}
		return encodeDoc(&d, tokenAt(q.Tiers.Past, q.Tiers.Past.Partition(id), d.Revision)), nil
	}
}

// doc is a document now or at a place in the past: 404 <kind>.not_found.
func (q *Questions) doc(ctx context.Context, kind, id, key string, b *bound) (d Doc, err error) {
	found := false
	switch {
	case b == nil:
		d, found, _, err = q.Tiers.Past.LastDoc(ctx, kind, id, key)
	case !b.never:
		d, found, err = q.Tiers.Past.DocAsOf(ctx, kind, id, key, b.revision, b.at)
	}
	if err != nil {
		return d, unavailable("journal", err)
	}
	if !found {
		return d, docNotFound(kind, id, key)
	}
	_, _ = q.Tiers.note(Answer{Source: FromJournal}, nil) // counted as every answer is
	return d, nil
}

func docNotFound(kind, id, key string) error {
	if kind == KindConfig {
		return domain.Errorf(domain.NotFound, "config.not_found", "agent %s has no configuration %s", id, key)
	}
	return domain.Errorf(domain.NotFound, kind+".not_found", "there is no %s %s", kind, id)
}

func docHistory(kind string) func(*Questions, context.Context, string, *question) ([]byte, error) {
	return func(q *Questions, ctx context.Context, id string, in *question) ([]byte, error) {
		key, err := docKey(kind, in)
		if err != nil {
			return nil, err
		}
		below, err := in.below()
		if err != nil {
			return nil, err
		}
		rows, err := q.Tiers.Past.DocHistory(ctx, kind, id, key, below, in.limit+1)
		if err != nil {
			return nil, unavailable("journal", err)
		}
		if len(rows) == 0 && in.Cursor == "" {
			return nil, docNotFound(kind, id, key)
		}
		rows, cursor := cut(rows, in.limit, func(v *DocVersion) (string, int) {
			return strconv.FormatUint(v.Revision, 10), len(v.State)
		})
		newest := uint64(0)
		if len(rows) > 0 {
			newest = rows[0].Revision
		}
		token := tokenAt(q.Tiers.Past, q.Tiers.Past.Partition(id), newest)
		return encodeDocHistory(&Doc{Kind: kind, ID: id, Key: key}, rows, cursor, token), nil
	}
}
