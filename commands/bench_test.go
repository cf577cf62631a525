package commands

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/commands/groupcommit"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// void is a journal that takes everything at once and keeps nothing: what is
// left is this package's own cost.
type void struct{ revision atomic.Uint64 }

func (v *void) Append(_ context.Context, _ events.Stream, _ uint64, _ string, evs []events.Event) (history.Appended, error) {
	return history.Appended{Revision: v.revision.Add(uint64(len(evs)))}, nil
}

func (v *void) AppendAll(_ context.Context, writes []history.Write) (uint64, error) {
	return v.revision.Add(uint64(len(writes))), nil
}

func (v *void) Last(context.Context, events.Stream, history.Freshness) (events.Record, bool, error) {
	return events.Record{}, false, nil
}

func (v *void) Since(context.Context, events.Stream, time.Time, func(events.Record) bool) error {
	return nil
}

func (v *void) At(context.Context, int, uint64) (events.Record, error) { return events.Record{}, nil }
func (*void) Trimmed(context.Context, int) (uint64, error)             { return 0, nil }
func (v *void) Partition(string) int                                   { return 0 }
func (v *void) Incarnation() string                                    { return "void0000" }

var benchBody = []byte(`{"key":"mood.today","value":"` + strings.Repeat("v", 254) + `"}`)

// From the subject's names and the body to a command bound to its aggregate.
func BenchmarkRead(b *testing.B) {
	now := time.Now()
	req := Request{Aggregate: "agent", ID: "agent-17", Verb: "set", CommandID: ulid.Make().String(), Body: benchBody}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := read(req, now, DefaultBounds()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMailbox(b *testing.B) {
	for _, streams := range []int{1, 64} {
		b.Run(strconv.Itoa(streams), func(b *testing.B) {
			names := make([]events.Stream, streams)
			for i := range names {
				names[i] = events.StateEntry("a"+strconv.Itoa(i), "k")
			}
			m := newMailboxes(nil, nil)
			b.ReportAllocs()
			var open sync.WaitGroup
			for i := 0; b.Loop(); i++ {
				open.Add(1)
				m.post(names[i%streams], open.Done)
			}
			open.Wait()
			m.close()
		})
	}
}

// What the group committer adds to a journal that costs nothing.
func BenchmarkCommitter(b *testing.B) {
	for _, writers := range []int{1, 64, 256} {
		b.Run(strconv.Itoa(writers), func(b *testing.B) {
			c := groupcommit.NewCommitter(&void{}, 1)
			var next atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(writers)
			b.RunParallel(func(pb *testing.PB) {
				s := events.StateEntry("a"+strconv.FormatInt(next.Add(1), 10), "k")
				for pb.Next() {
					if _, err := c.Append(context.Background(), s, 0, "id", make([]events.Event, 1)); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// A whole command but for the wire and the journal.
func BenchmarkHandle(b *testing.B) {
	for _, senders := range []int{1, 64} {
		b.Run(strconv.Itoa(senders), func(b *testing.B) {
			h := NewHandler(&void{}, Config{})
			defer h.Close()
			var next atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(senders)
			b.RunParallel(func(pb *testing.PB) {
				id := "a" + strconv.FormatInt(next.Add(1), 10)
				for pb.Next() {
					if _, err := h.Send(context.Background(), Request{
						Aggregate: "agent", ID: id, Verb: "set", CommandID: ulid.Make().String(), Body: benchBody,
					}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
