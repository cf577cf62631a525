package query

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// acknowledged returns the last revision of a partition that this engine has acknowledged: lists
// are at least as new.
func (q *Query) acknowledged(partition int) uint64 {
	if q.Acknowledged == nil {
		return 0
	}
	return q.Acknowledged(partition)
}

// awaitSQL waits until SQL has reached the token and what this engine has acknowledged, in each
// partition, and returns SQL's positions as a token: 503 sql.off, read.behind. more are other
// views than the durable one that the answer reads.
func (q *Query) awaitSQL(ctx context.Context, in *request, more ...tiers.Progress) (token string, err error) {
	t, err := q.token(in)
	if err != nil {
		return "", err
	}
	if q.Tiers.Durable == nil {
		return "", sqlOff()
	}
	waiting, cancel := context.WithTimeout(ctx, in.wait())
	defer cancel()
	at := domain.Token{Journal: q.Rows.Incarnation(), Positions: map[int]uint64{}}
	for p := range q.Rows.Partitions() {
		wanted := max(t.Positions[p], q.acknowledged(p))
		at.Positions[p] = math.MaxUint64
		for _, progress := range append(more, q.Tiers.DurableProgress) {
			if err := tiers.Reach(waiting, tiers.FromSQL, progress, p, wanted); err != nil {
				return "", err
			}
			at.Positions[p] = min(at.Positions[p], progress.At(p))
		}
	}
	return at.String(), nil
}

// maxQuarantined is the number of quarantined streams that a list names.
const maxQuarantined = 100

// quarantined names the streams under a prefix that SQL has quarantined: their rows may be stale.
// Read before the rows, it can name too many streams but never too few.
func (q *Query) quarantined(ctx context.Context, in *request, prefix string) ([]string, error) {
	names, err := q.Tiers.Durable.QuarantinedStreams(ctx, prefix, maxQuarantined)
	if err != nil {
		return nil, tiers.Unavailable("sql", err)
	}
	if f := in.permission.set.Filter(strings.TrimSuffix(prefix, ".")); !f.All {
		names = slices.DeleteFunc(names, func(name string) bool { return !f.ShowsID(events.AggregateName(name).ID()) })
	}
	return names, nil
}

func sqlOff() error {
	return domain.Errorf(domain.Unavailable, "sql.off", "this engine runs without SQL, which lists need")
}

// oneOf refuses an unknown value of a filter.
func oneOf(field, value string, known ...string) error {
	if value == "" {
		return nil
	}
	for _, k := range known {
		if value == k {
			return nil
		}
	}
	return domain.Errorf(domain.Invalid, field+".unknown", "%s %.32q is not one of %s", field, value, strings.Join(known, ", "))
}

func (q *Query) agentsList(ctx context.Context, _ string, in *request) (*page, error) {
	if err := oneOf("phase", in.Phase, phaseCold, "hydrating", "active", "flushing", "expired"); err != nil {
		return nil, err
	}
	if err := in.cursorAfter(domain.CheckAgentID); err != nil {
		return nil, err
	}
	token, err := q.awaitSQL(ctx, in)
	if err != nil {
		return nil, err
	}
	quarantined, err := q.quarantined(ctx, in, "agent.")
	if err != nil {
		return nil, err
	}
	only := in.permission.visible("agent")
	prefix, some := narrow(in.Prefix, only)
	var rows []readmodel.Agent
	if some {
		rows, err = q.Tiers.Durable.Agents(ctx, readmodel.AgentList{Phase: in.Phase, Only: only, Prefix: prefix, After: in.Cursor, Limit: in.limit + 1})
	}
	if err != nil {
		return nil, tiers.Unavailable("sql", err)
	}
	rows, cursor := paginate(rows, in.limit, func(a *readmodel.Agent) (string, int) { return a.ID, 0 })
	return &page{rows: encodeAgents(rows), source: tiers.FromSQL, cursor: cursor, token: token, quarantined: quarantined}, nil
}
