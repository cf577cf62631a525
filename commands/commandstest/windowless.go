package commandstest

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/tidemark-engine/tidemark/history"
)

// Windowless is a journal without a duplicate window: it stores each append
// under message ids of its own, so a repeated command must be found by a search.
type Windowless struct {
	history.Journal
	appends atomic.Int64
}

// Append implements history.Appender.
func (j *Windowless) Append(ctx context.Context, writes []history.Write) (history.Appended, error) {
	writes, n := slices.Clone(writes), j.appends.Add(1)
	for i := range writes {
		if writes[i].ID != "" {
			writes[i].ID = fmt.Sprintf("%s-%d", writes[i].ID, n)
		}
	}
	return j.Journal.Append(ctx, writes)
}
