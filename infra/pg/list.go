package pg

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/readmodel"
)

// errTwoValues: the two forms of one value differ.
var errTwoValues = errors.New("state_value is not what state_text says")

// EachEntry yields every row of agents.state. bad is set where the two forms
// of its value differ.
func (d *DB) EachEntry(ctx context.Context, yield func(e readmodel.Entry, bad error)) error {
	rows, err := d.pool.Query(ctx, `
		SELECT agent_id, state_key, state_text, state_value = state_text::jsonb, version, revision,
			writer, timestamp, timestamp_ns, updated_at, digest FROM agents.state`)
	if err != nil {
		return fmt.Errorf("read agents.state: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var e readmodel.Entry
		var text string
		var same bool
		var nanos int16
		if err := rows.Scan(&e.Agent, &e.Key, &text, &same, &e.Version, &e.Revision,
			&e.Writer, &e.Timestamp, &nanos, &e.UpdatedAt, &e.Digest); err != nil {
			return fmt.Errorf("read agents.state: %w", err)
		}
		e.Value, e.Timestamp = []byte(text), e.Timestamp.Add(time.Duration(nanos)).UTC()
		var bad error
		if !same {
			bad = errTwoValues
		}
		yield(e, bad)
	}
	return rows.Err()
}
