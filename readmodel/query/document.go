package query

import (
	"context"
	"strconv"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// docKey returns the key of a request for a document; only configuration has keys.
func docKey(kind string, in *request) (string, error) {
	if kind != readmodel.KindConfig {
		return "", nil
	}
	return in.key()
}

func docGet(kind string) func(*Query, context.Context, string, *request) ([]byte, error) {
	return func(q *Query, ctx context.Context, id string, in *request) ([]byte, error) {
		key, err := docKey(kind, in)
		if err != nil {
			return nil, err
		}
		then, err := in.pastPoint()
		if err != nil {
			return nil, err
		}
		p, reached := q.Rows.Partition(id), uint64(0)
		if then == nil {
			reached, err = q.atEnd(ctx, in, p)
		} else {
			_, err = q.token(in)
		}
		if err != nil {
			return nil, err
		}
		d, err := q.doc(ctx, kind, id, key, then)
		if may := in.permission; err == nil && may.holder && !may.holds(&d) { // it was another's then
			_, missing := may.set.Decide(may.action)
			err = may.Refuse(ctx, missing)
		}
		if err != nil {
			return nil, err
		}
		return encodeDoc(&d, tokenAt(q.Rows, p, max(d.Revision, reached))), nil
	}
}

// doc reads a document now or at a point in the past: 404 <kind>.not_found.
func (q *Query) doc(ctx context.Context, kind, id, key string, b *pastPoint) (d readmodel.Doc, err error) {
	found := false
	switch {
	case b == nil:
		d, found, _, err = q.Rows.LastDoc(ctx, kind, id, key)
	case !b.beforeAll:
		d, found, err = q.Rows.DocAsOf(ctx, kind, id, key, b.moment())
	}
	if err != nil {
		return d, tiers.Unavailable("journal", err)
	}
	if !found {
		return d, docNotFound(kind, id, key)
	}
	_, _ = q.Tiers.CountHit(tiers.Answer{Source: tiers.FromJournal}, nil)
	return d, nil
}

func docNotFound(kind, id, key string) error {
	if kind == readmodel.KindConfig {
		return domain.Errorf(domain.NotFound, "config.not_found", "agent %s has no configuration %s", id, key)
	}
	return domain.Errorf(domain.NotFound, kind+".not_found", "there is no %s %s", kind, id)
}

func docHistory(kind string) func(*Query, context.Context, string, *request) ([]byte, error) {
	return func(q *Query, ctx context.Context, id string, in *request) ([]byte, error) {
		key, err := docKey(kind, in)
		if err != nil {
			return nil, err
		}
		below, err := in.below()
		if err != nil {
			return nil, err
		}
		rows, err := q.docVersions(ctx, kind, id, key, below, in)
		if err != nil {
			return nil, tiers.Unavailable("journal", err)
		}
		if len(rows) == 0 && in.Cursor == "" {
			return nil, docNotFound(kind, id, key)
		}
		rows, cursor := paginate(rows, in.limit, func(v *readmodel.DocVersion) (string, int) {
			return strconv.FormatUint(v.Revision, 10), len(v.State)
		})
		newest := uint64(0)
		if len(rows) > 0 {
			newest = rows[0].Revision
		}
		token := tokenAt(q.Rows, q.Rows.Partition(id), newest)
		return encodeDocHistory(&readmodel.Doc{Kind: kind, ID: id, Key: key}, rows, cursor, token), nil
	}
}

// docVersions reads a page of versions and one more; where the sender must be the holder, those
// at which it was.
func (q *Query) docVersions(ctx context.Context, kind, id, key string, below uint64, in *request) (rows []readmodel.DocVersion, err error) {
	if !in.permission.holder {
		return q.Rows.DocVersions(ctx, kind, id, key, below, in.limit+1)
	}
	var room readmodel.PageRoom
	for {
		more, err := q.Rows.DocVersions(ctx, kind, id, key, below, in.limit+1)
		if err != nil || len(more) == 0 {
			return rows, err
		}
		for i := range more {
			if below = more[i].Revision; !in.permission.holds(&more[i].Doc) {
				continue
			}
			if rows = append(rows, more[i]); room.Add(len(more[i].State)) || len(rows) > in.limit {
				return rows, nil
			}
		}
	}
}
