package query

import (
	"context"
	"strconv"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// docKey is the key that a question about a document of a kind names.
func docKey(kind string, in *question) (string, error) {
	if kind != readmodel.KindConfig {
		return "", nil
	}
	return in.Key, domain.CheckKey(in.Key)
}

func docGet(kind string) func(*Query, context.Context, string, *question) ([]byte, error) {
	return func(q *Query, ctx context.Context, id string, in *question) ([]byte, error) {
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
		return encodeDoc(&d, tokenAt(q.Past, q.Past.Partition(id), d.Revision)), nil
	}
}

// doc is a document now or at a place in the past: 404 <kind>.not_found.
func (q *Query) doc(ctx context.Context, kind, id, key string, b *bound) (d readmodel.Doc, err error) {
	found := false
	switch {
	case b == nil:
		d, found, _, err = q.Past.LastDoc(ctx, kind, id, key)
	case !b.never:
		d, found, err = q.Past.DocAsOf(ctx, kind, id, key, b.moment())
	}
	if err != nil {
		return d, tiers.Unavailable("journal", err)
	}
	if !found {
		return d, docNotFound(kind, id, key)
	}
	_, _ = q.Tiers.Note(tiers.Answer{Source: tiers.FromJournal}, nil) // counted as every answer is
	return d, nil
}

func docNotFound(kind, id, key string) error {
	if kind == readmodel.KindConfig {
		return domain.Errorf(domain.NotFound, "config.not_found", "agent %s has no configuration %s", id, key)
	}
	return domain.Errorf(domain.NotFound, kind+".not_found", "there is no %s %s", kind, id)
}

func docHistory(kind string) func(*Query, context.Context, string, *question) ([]byte, error) {
	return func(q *Query, ctx context.Context, id string, in *question) ([]byte, error) {
		key, err := docKey(kind, in)
		if err != nil {
			return nil, err
		}
		below, err := in.below()
		if err != nil {
			return nil, err
		}
		rows, err := q.Past.DocVersions(ctx, kind, id, key, below, in.limit+1)
		if err != nil {
			return nil, tiers.Unavailable("journal", err)
		}
		if len(rows) == 0 && in.Cursor == "" {
			return nil, docNotFound(kind, id, key)
		}
		rows, cursor := cut(rows, in.limit, func(v *readmodel.DocVersion) (string, int) {
			return strconv.FormatUint(v.Revision, 10), len(v.State)
		})
		newest := uint64(0)
		if len(rows) > 0 {
			newest = rows[0].Revision
		}
		token := tokenAt(q.Past, q.Past.Partition(id), newest)
		return encodeDocHistory(&readmodel.Doc{Kind: kind, ID: id, Key: key}, rows, cursor, token), nil
	}
}
