package quarantine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
)

// Bounds of what a page reads: markers of what was released, and requests, are among the values.
const (
	pageRows = 500 // at once
	maxPages = 20
)

// Page returns aggregates that views exclude now, at most limit, and whether there are more. It
// takes those that were written least recently, and returns them oldest first.
func (q *Store) Page(ctx context.Context, limit int) (some []quarantine.Entry, more bool, err error) {
	seen := map[string]bool{} // a value that is written meanwhile comes again
	from, behind := uint64(0), true
	for pages := 0; behind && !more; pages++ {
		if pages == maxPages {
			more = true
			break
		}
		var msgs []*jetstream.RawStreamMsg
		msgs, behind, err = natsio.PageQuery{Subject: SubjectPrefix + ">", FromSeq: from, Batch: pageRows}.Page(ctx, q.nc, "KV_"+BucketName)
		if err != nil {
			return nil, false, fmt.Errorf("list what is quarantined: %w", err)
		}
		for _, msg := range msgs {
			from = msg.Sequence + 1
			var h quarantine.Entry
			if len(msg.Data) == 0 || seen[msg.Subject] || strings.HasSuffix(msg.Subject, requestSuffix) || json.Unmarshal(msg.Data, &h) != nil || !h.Waits() {
				continue // engine dlq list names a value that is not readable
			}
			if more = len(some) == limit; more {
				break
			}
			seen[msg.Subject] = true
			some = append(some, h)
		}
	}
	slices.SortStableFunc(some, func(a, b quarantine.Entry) int { return a.Since.Compare(b.Since) })
	return some, more, q.addRequests(ctx, some)
}

// addRequests sets what operators have asked for.
func (q *Store) addRequests(ctx context.Context, some []quarantine.Entry) error {
	subjects, of := make([]string, len(some)), map[string]*quarantine.Entry{}
	for i := range some {
		h := &some[i]
		subjects[i] = SubjectPrefix + keyOf(h.View, h.Partition, h.Stream) + requestSuffix
		of[subjects[i]] = h
	}
	return natsio.LastMessages(ctx, q.nc, "KV_"+BucketName, natsio.LastQuery{Subjects: subjects}, func(msg *jetstream.RawStreamMsg) {
		if h := of[msg.Subject]; h != nil {
			h.Request = string(msg.Data)
		}
	})
}
