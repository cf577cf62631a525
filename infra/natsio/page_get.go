package natsio

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// PageQuery is a direct get for messages in their order (ADR-31). A client that ends a
// page when no more messages come in time takes a slow server for the end of the stream;
// here only the server's own mark ends one.
type PageQuery struct {
	Subject   string     `json:"next_by_subj,omitempty"` // may have wildcards; empty = all
	FromSeq   uint64     `json:"seq,omitempty"`          // 0 = the first, or the first since FromTime
	FromTime  *time.Time `json:"start_time,omitempty"`
	Batch     int        `json:"batch"`     // messages at most
	PageBytes int        `json:"max_bytes"` // the page ends with the message that exceeds them; 0 = 4 MiB
}

const pageBytes = 4 << 20

// Page returns messages, and whether the server has more of them behind the last one.
// It fails if the page does not end while ctx lasts, or where ctx has no deadline
// within ten seconds.
func (q PageQuery) Page(ctx context.Context, nc *nats.Conn, stream string) (msgs []*jetstream.RawStreamMsg, more bool, err error) {
	if q.PageBytes == 0 {
		q.PageBytes = pageBytes
	}
	if msgs, err = directGet(ctx, nc, stream, q); err != nil {
		return nil, false, fmt.Errorf("read a page of stream %s: %w", stream, err)
	}
	if n := len(msgs); n > 0 {
		pending := msgs[n-1].Header.Get(numPendingHeader)
		more = pending != "0" && pending != ""
	}
	return msgs, more, nil
}
