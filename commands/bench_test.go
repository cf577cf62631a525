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

// void is a journal that accepts everything at once and stores nothing: what
// remains is the cost of this package.
type void struct{ revision atomic.Uint64 }

func (v *void) Append(_ context.Context, writes []history.Write) (history.Appended, error) {
	return history.Appended{Revision: v.revision.Add(uint64(len(writes)))}, nil
}

func (v *void) Last(context.Context, events.AggregateName, history.Freshness) (events.Record, bool, error) {
	return events.Record{}, false, nil
}

func (v *void) Since(context.Context, events.AggregateName, time.Time, func(events.Record) bool) error {
	return nil
}

func (v *void) At(context.Context, int, uint64) (events.Record, error) { return events.Record{}, nil }
func (*void) Trimmed(context.Context, int) (uint64, time.Time, error)  { return 0, time.Time{}, nil }
func (v *void) Partition(string) int                                   { return 0 }
func (v *void) Incarnation() string                                    { return "void0000" }

var benchBody = []byte(`{"key":"mood.today","value":"` + strings.Repeat("v", 254) + `"}`)

// Reading a request: from names and body to a command bound to its aggregate.
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
			names := make([]events.AggregateName, streams)
			for i := range names {
				names[i] = events.StateEntry("a"+strconv.Itoa(i), "k")
			}
			var open sync.WaitGroup
			m := newMailboxes(func([]*job) int { open.Done(); return 1 })
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				open.Add(1)
				m.post(&job{cmd: Command{Name: names[i%streams]}})
			}
			open.Wait()
			m.close()
		})
	}
}

// The cost of group commit over a journal that costs nothing.
func BenchmarkCommitter(b *testing.B) {
	for _, writers := range []int{1, 64, 256} {
		b.Run(strconv.Itoa(writers), func(b *testing.B) {
			c := groupcommit.New(&void{}, 1)
			var next atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(writers)
			b.RunParallel(func(pb *testing.PB) {
				s := events.StateEntry("a"+strconv.FormatInt(next.Add(1), 10), "k")
				for pb.Next() {
					if _, err := c.Append(context.Background(), history.Writes(s, 0, "id", make([]events.Event, 1))); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// A whole command, without the wire and the journal.
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
