package outbox

import (
	"context"
	"time"
)

const (
	// othersRunning is the number of aggregates of a role that execute although all places are
	// taken, so that the rows of one application do not wait for all rows of another one.
	othersRunning = 16
	// maxOthers bounds the aggregates that execute so, and the rows that are read of a role.
	maxOthers = 64
	// othersRest is the pause between two reads, and their share of the time: a read looks at
	// every waiting row.
	othersRest = 20 * time.Millisecond
)

// selectOthers reads the first rows of each role that is not in $2, without those of the roots $4.
// A row waits for its turn where rows of another role wait for the same aggregate, whose order
// counts.
const selectOthers = `WITH RECURSIVE roles AS (
		(SELECT inserted_by AS role FROM agents.outbox WHERE done_at IS NULL ORDER BY 1 LIMIT 1)
		UNION ALL
		SELECT (SELECT inserted_by FROM agents.outbox WHERE done_at IS NULL AND inserted_by > role ORDER BY 1 LIMIT 1) FROM roles WHERE role IS NOT NULL
	), others AS MATERIALIZED (
		SELECT o.*, ` + nameOf + ` AS name FROM roles CROSS JOIN LATERAL (SELECT *, %s AS committed FROM agents.outbox
			WHERE done_at IS NULL AND inserted_by = role AND NOT ` + rootOf + ` = ANY ($4) ORDER BY id LIMIT $3) AS o
		WHERE role <> ALL ($2)
	), shared AS (
		SELECT name FROM (SELECT ` + nameOf + ` AS name, inserted_by FROM agents.outbox WHERE done_at IS NULL) AS waiting
		WHERE name IN (SELECT name FROM others) GROUP BY name HAVING min(inserted_by) <> max(inserted_by)
	)` + rowColumns + ` FROM others WHERE name NOT IN (SELECT name FROM shared) ORDER BY committed NULLS FIRST, id`

// nameOf is the root without what may stand before the aggregate.
const nameOf = `regexp_replace(` + rootOf + `, '^.*?([^.]*[.][^.]*[.])$', '\1')`

// startOthers starts aggregates of the roles that have few places. An error is no reason to stop
// the relay: among millions of rows the read may take too long.
func (r *relay) startOthers(ctx context.Context) {
	now := time.Now()
	places, others := map[string]int{}, 0
	for _, a := range r.aggregates {
		if a.running {
			places[a.role]++
		}
		if a.running && a.other {
			others++
		}
	}
	if now.Before(r.othersAt) || others >= maxOthers {
		return
	}
	busy := []string{}
	for role, n := range places {
		if n >= othersRunning {
			busy = append(busy, role)
		}
	}
	rows, err := r.readRows(ctx, selectOthers, busy, maxOthers, r.held(now))
	r.othersAt = time.Now().Add(max(othersRest, 10*time.Since(now)))
	if err != nil {
		r.othersAt = r.othersAt.Add(retryMax)
		r.Log.Debug("the outbox rows of other applications cannot be read", "error", err)
		return
	}
	queues, order := r.queue(rows, now)
	for _, name := range order {
		role := queues[name][0].role
		if places[role] >= othersRunning || others >= maxOthers {
			continue
		}
		places[role]++
		others++
		r.execute(ctx, name, queues[name])
		r.aggregates[name].other = true
	}
}
