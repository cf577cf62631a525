package query

import (
	"context"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

func (q *Query) claimsList(ctx context.Context, _ string, in *request) (*page, error) {
	if err := oneOf("status", in.Status, "held", "released", "expired"); err != nil {
		return nil, err
	}
	where := map[string]string{}
	if in.Status != "" {
		where["status"] = in.Status
	}
	if in.Owner != "" {
		if err := domain.CheckID("owner", in.Owner); err != nil {
			return nil, err
		}
		where["owner"] = in.Owner
	}
	if err := in.cursorAfter(checkClaim); err != nil {
		return nil, err
	}
	token, err := q.awaitSQL(ctx, in)
	if err != nil {
		return nil, err
	}
	quarantined, err := q.quarantined(ctx, in, "claim.")
	if err != nil {
		return nil, err
	}
	rows, err := q.Tiers.Durable.Docs(ctx, readmodel.DocList{
		Kind: readmodel.KindClaim, Only: in.permission.visible("claim"), Prefix: in.Prefix, After: in.Cursor, Where: where, Limit: in.limit + 1,
	})
	if err != nil {
		return nil, tiers.Unavailable("sql", err)
	}
	rows, cursor := paginate(rows, in.limit, func(d *readmodel.Doc) (string, int) { return d.ID, len(d.State) })
	return &page{rows: encodeDocs("claims", rows), source: tiers.FromSQL, cursor: cursor, token: token, quarantined: quarantined}, nil
}
