package demo

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/cli"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// entryHistory is every version of the demo's entries in the journal, oldest
// first, by "<agent>.<key>".
type entryHistory map[string][]readmodel.EntryChange

// fold folds the demo's entries from the journal alone.
type fold struct {
	mine    map[string]bool // agents
	into    *reading
	history entryHistory
	chain   map[string]string // the last digest by subject
}

// replay folds the events since the demo began in this process, and recomputes
// their digests.
func (r *reader) replay(ctx context.Context, _ *cli.Progress) (reading, error) {
	got := reading{Tier: "replay", rows: rows{}, Seen: map[string]int{}}
	f := fold{mine: map[string]bool{}, into: &got, history: entryHistory{}, chain: map[string]string{}}
	agents, _ := r.firsts()
	for _, agent := range agents {
		f.mine[agent] = true
	}
	for p := range r.journal.Partitions() {
		err := r.journal.Raw(ctx, p, journal.RawRange{FromRevision: r.heads[p] + 1}, func(msg jetstream.Msg, revision uint64) error {
			return f.add(msg, p, revision)
		})
		if err != nil {
			return got, err
		}
	}
	r.history = f.history
	got.Seen["deleted"] = len(f.history) - len(got.rows)
	got.Via = "a fold of " + cli.Grouped(got.Seen["events"]) + " events in this process"
	return got, nil
}

func (f *fold) add(msg jetstream.Msg, partition int, revision uint64) error {
	ev, err := events.Decode(msg.Data())
	if err != nil {
		return fmt.Errorf("revision %d of partition %d: %w", revision, partition, err)
	}
	if ev.Aggregate != "agent" || !f.mine[ev.ID] {
		return nil
	}
	f.into.Seen["events"]++
	if err := f.link(msg.Subject(), &ev); err != nil {
		return err
	}
	switch ev.Type {
	case events.StateSuperseded:
		f.into.Seen["superseded"]++
	case events.StateRejected:
		f.into.Seen["rejected"]++
	case events.StateSet, events.StateDeleted:
		return f.entry(&events.Record{Event: ev, Partition: partition, Revision: revision})
	}
	return nil
}

func (f *fold) entry(rec *events.Record) error {
	change, err := readmodel.EntryOf(rec)
	if err != nil {
		return err
	}
	name := rec.ID + "." + rec.Key
	f.history[name] = append(f.history[name], change)
	if change.Deleted {
		delete(f.into.rows, name)
		return nil
	}
	f.into.rows[name] = change.Entry
	return nil
}

// link checks that an event continues the digest chain of its aggregate. The
// first one that is read may continue events older than the demo.
func (f *fold) link(subject string, ev *events.Event) error {
	before, known := f.chain[subject]
	f.chain[subject] = ev.Digest
	if !known && ev.Version > 1 {
		return nil
	}
	digest, err := events.Chain(before, ev)
	if err == nil && digest != ev.Digest {
		err = fmt.Errorf("version %d of %s breaks the digest chain", ev.Version, subject)
	}
	return err
}
