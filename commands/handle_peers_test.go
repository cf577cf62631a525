package commands_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// slowJournal stops each append and each read of a last event, from a request to stop until
// the one to go on.
type slowJournal struct {
	history.Journal
	reads, appends chan chan struct{} // the reader waits for the channel that it sends
}

func (j *slowJournal) pause(ctx context.Context, at chan chan struct{}) {
	if at == nil {
		return
	}
	goOn := make(chan struct{})
	select {
	case at <- goOn:
		select {
		case <-goOn:
		case <-ctx.Done():
		}
	case <-ctx.Done():
	}
}

func (j *slowJournal) Last(ctx context.Context, name events.AggregateName, f history.Freshness) (events.Record, bool, error) {
	j.pause(ctx, j.reads)
	return j.Journal.Last(ctx, name, f)
}

func (j *slowJournal) Append(ctx context.Context, writes []history.Write) (history.Appended, error) {
	j.pause(ctx, j.appends)
	return j.Journal.Append(ctx, writes)
}

// askedPeers say when the others are asked.
type askedPeers struct {
	commands.Peers
	asked chan<- struct{}
}

func (p *askedPeers) Withdraw(ctx context.Context, message string) error {
	p.asked <- struct{}{}
	return p.Peers.Withdraw(ctx, message)
}

// twoEngines share a journal and know of each other; a's journal is slow.
func twoEngines(t *testing.T) (a, b *engine, slow *slowJournal, asked <-chan struct{}) {
	s, questions := support.NATS(t), make(chan struct{}, 100)
	var all []*coordination.Peers
	open := func(wrap func(history.Journal) history.Journal) *engine {
		nc := support.Engine(t, s)
		j, err := journal.Open(t.Context(), nc, journal.Config{})
		if err != nil {
			t.Fatal(err)
		}
		var e *engine
		peers, err := coordination.StartPeers(nc, natsio.NewSubjects(""), func(ctx context.Context, message string) bool {
			return e.Withdrawn(ctx, message)
		})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, peers)
		e = newEngine(t, wrap(history.New(j, nil, 0)), commands.Config{Peers: &askedPeers{peers, questions}})
		var running sync.WaitGroup
		running.Go(func() { peers.Run(t.Context()) })
		t.Cleanup(running.Wait)
		return e
	}
	slow = &slowJournal{}
	a = open(func(j history.Journal) history.Journal { slow.Journal = j; return slow })
	b = open(func(j history.Journal) history.Journal { return j })
	harness.Eventually(t, "the engines know each other", func() bool { return all[0].Any() && all[1].Any() })
	return a, b, slow, questions
}

// A command that one engine still holds while another one refuses its repetition has no
// effect afterwards, in whatever state the first engine reads then.
func TestARefusedCommandHasNoEffectInAnotherEngine(t *testing.T) {
	for name, batch := range map[string]bool{"alone": false, "in an atomic batch": true} {
		t.Run(name, func(t *testing.T) {
			a, b, slow, _ := twoEngines(t)
			id, body := youngID(), `{"key":"k"}`
			send := func(e *engine) <-chan answer {
				if !batch {
					return e.send(id, "a1", "delete", body)
				}
				answers := make(chan answer, 1)
				e.HandleBatch(t.Context(), "", fmt.Appendf(nil, `{"atomic":true,"commands":[{"subject":"agent.a1.delete","id":%q,"body":%s}]}`, id, body),
					func(s string) string { return s }, func(r []commands.Result, err error) {
						got := answer{err: err}
						if err == nil {
							got.Receipt = r[0].Receipt
						}
						answers <- got
					})
				return answers
			}
			slow.reads = make(chan chan struct{})
			held := send(a)
			goOn := harness.Receive(t, "the read of the first engine", slow.reads)

			if got := harness.Receive(t, "an answer", send(b)); !hasCode(got.err, "state.not_found") {
				t.Fatalf("there is no entry: %+v", got)
			}
			b.accepted(youngID(), "set", `{"key":"k","value":1}`) // now the first delivery would be accepted
			slow.reads = nil
			close(goOn)
			if got := harness.Receive(t, "an answer", held); !hasCode(got.err, "command.withdrawn") {
				t.Errorf("the first delivery was answered with %+v", got)
			}
			b.count("k", 1, 0)
			harness.Eventually(t, "the command, sent once more, is decided again", func() error {
				if got := harness.Receive(t, "an answer", send(a)); got.err != nil {
					return got.err
				}
				return nil
			})
			b.count("k", 2, 0)
		})
	}
}

// An append that is under way while another engine decides about the repetition comes
// first: the repetition waits for it.
func TestAnAppendUnderWayComesBeforeARefusal(t *testing.T) {
	a, b, slow, asked := twoEngines(t)
	b.accepted(youngID(), "set", `{"key":"k","value":1}`)
	id, body := youngID(), `{"key":"k"}`
	slow.appends = make(chan chan struct{})
	held := a.send(id, "a1", "delete", body)
	goOn := harness.Receive(t, "the append of the first engine", slow.appends)
	b.accepted(youngID(), "delete", body)
	refused := b.send(id, "a1", "delete", body)
	harness.Receive(t, "the question", asked)
	select {
	case got := <-refused:
		t.Fatalf("answered while the append is under way: %+v", got)
	default:
	}
	close(goOn)
	if got := harness.Receive(t, "an answer", refused); !hasCode(got.err, "state.not_found") {
		t.Errorf("there is no entry any more: %+v", got)
	}
	if got := harness.Receive(t, "an answer", held); got.err == nil {
		t.Errorf("the append compares: %+v", got)
	}
	b.count("k", 2, 0)
}
