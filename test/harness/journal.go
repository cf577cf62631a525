package harness

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Event is one stored event, read from its JSON alone.
type Event struct {
	Subject   string `json:"-"` // without the configured prefix
	Partition int    `json:"-"`
	Revision  uint64 `json:"-"`
	Raw       []byte `json:"-"`

	Type      string    `json:"type"`
	Aggregate string    `json:"aggregate"`
	ID        string    `json:"id"`
	Key       string    `json:"key"`
	Version   uint64    `json:"version"`
	Timestamp time.Time `json:"timestamp"`
	CommandID string    `json:"command_id"`
	Digest    string    `json:"digest"`
	Data      struct {
		Value json.RawMessage `json:"value"`
	} `json:"data"`
}

// Entry returns the state entry of an event, and whether the event is a
// conflict, a write that lost.
func (e *Event) Entry() (agent, key string, loser bool) {
	parts := strings.SplitN(e.Subject, ".", 5)
	if len(parts) != 5 || parts[0] != "events" || parts[1] != "agent" || parts[3] != "state" && parts[3] != "conflict" {
		return "", "", false
	}
	return parts[2], parts[4], parts[3] == "conflict"
}

// States returns the events of state entries, conflicts included: the effects
// of a test's commands, without the events that the engine writes by itself.
func States(all []Event) []Event {
	return slices.DeleteFunc(slices.Clone(all), func(e Event) bool {
		agent, _, _ := e.Entry()
		return agent == ""
	})
}

// Deleted reports whether the event deletes its entry.
func (e *Event) Deleted() bool { return strings.HasSuffix(e.Type, "_deleted") }

// Journal reads the whole journal, partition by partition, in order.
func (c *Client) Journal(t testing.TB) []Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var streams []jetstream.Stream
	whole, err := c.JS.Stream(ctx, "EVENTS")
	switch {
	case err == nil:
		streams = append(streams, whole)
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		t.Fatalf("open the journal: %v", err)
	}
	for p := 0; whole == nil; p++ {
		part, err := c.JS.Stream(ctx, "EVENTS_"+strconv.Itoa(p))
		if errors.Is(err, jetstream.ErrStreamNotFound) && p > 0 {
			break
		}
		Mustf(t, err, "open partition %d", p)
		streams = append(streams, part)
	}
	var all []Event
	for p, s := range streams {
		part, err := readStream(ctx, s, p)
		Mustf(t, err, "read partition %d", p)
		all = append(all, part...)
	}
	return all
}

func readStream(ctx context.Context, s jetstream.Stream, partition int) (all []Event, err error) {
	err = eachMessage(ctx, s, "", false, func(msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
		ev, err := event(msg, meta, partition)
		all = append(all, ev)
		return err
	})
	return all, err
}

func event(msg jetstream.Msg, meta *jetstream.MsgMetadata, partition int) (Event, error) {
	ev := Event{Partition: partition, Revision: meta.Sequence.Stream, Raw: msg.Data(),
		Subject: msg.Subject()[max(0, strings.Index(msg.Subject(), "events.")):]}
	if err := json.Unmarshal(ev.Raw, &ev); err != nil {
		return ev, fmt.Errorf("revision %d on %s is no event: %w", ev.Revision, ev.Subject, err)
	}
	return ev, nil
}

// AwaitEvent reads the events of a journal with one partition, those to come
// too, until done returns true.
func (c *Client) AwaitEvent(t testing.TB, what string, d time.Duration, done func(Event) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	s, err := c.JS.Stream(ctx, "EVENTS")
	Mustf(t, err, "open the journal")
	err = eachMessage(ctx, s, "", true, func(msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
		ev, err := event(msg, meta, 0)
		if err == nil && done(ev) {
			return errDone
		}
		return err
	})
	if !errors.Is(err, errDone) {
		t.Fatalf("not within %s: %s: %v", d, what, err)
	}
}

var errDone = errors.New("done")

// Messages reads what a stream holds under a subject, in its order.
func (c *Client) Messages(t testing.TB, stream, subject string) (all []Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	s, err := c.JS.Stream(ctx, stream)
	Mustf(t, err, "open stream %s", stream)
	Mustf(t, eachMessage(ctx, s, subject, false, func(msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
		m := Message{Subject: msg.Subject(), Raw: msg.Data(), Header: msg.Headers(), Sequence: meta.Sequence.Stream}
		all = append(all, m)
		return nil
	}), "read stream %s", stream)
	return all
}

// Message is one message of a stream.
type Message struct {
	Subject  string
	Raw      []byte
	Header   nats.Header
	Sequence uint64
}

// eachMessage reads a stream under a subject, "" for all, through one ordered
// consumer; follow reads on after the last message. It deletes the consumer,
// which the client library does not: a server allows a stream 1,000.
func eachMessage(ctx context.Context, s jetstream.Stream, subject string, follow bool, f func(jetstream.Msg, *jetstream.MsgMetadata) error) error {
	var cfg jetstream.OrderedConsumerConfig
	if subject != "" {
		cfg.FilterSubjects = []string{subject}
	}
	c, err := s.OrderedConsumer(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { // by its last name: it has another after a reset
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = s.DeleteConsumer(ctx, c.CachedInfo().Name) // a server that restarted has forgotten it
	}()
	info, err := c.Info(ctx)
	if err != nil || info.NumPending == 0 && !follow {
		return err
	}
	it, err := c.Messages()
	if err != nil {
		return err
	}
	defer it.Stop()
	for {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		if err := f(msg, meta); err != nil {
			return err
		}
		if meta.NumPending == 0 && !follow {
			return nil
		}
	}
}

// CheckJournal returns the violations in a journal: a gap in revisions or
// versions, an event on the subject of another aggregate, a command that took
// effect twice on one entry, a digest that does not follow from the one before.
func CheckJournal(all []Event) (wrong []string) {
	complain := func(e *Event, format string, args ...any) {
		wrong = append(wrong, fmt.Sprintf("%s revision %d: ", e.Subject, e.Revision)+fmt.Sprintf(format, args...))
	}
	last := map[string]*Event{} // by subject
	done := map[string]*Event{} // by entry and command
	next := map[int]uint64{}
	for i := range all {
		e := &all[i]
		if next[e.Partition]++; e.Revision != next[e.Partition] {
			complain(e, "the revision before it is %d", next[e.Partition]-1)
			next[e.Partition] = e.Revision
		}
		agent, key, _ := e.Entry()
		if root := "events." + e.Aggregate + "." + e.ID; e.Subject != root && !strings.HasPrefix(e.Subject, root+".") || agent != "" && e.Key != key {
			complain(e, "it says it is %s %s %s", e.Aggregate, e.ID, e.Key)
		}
		before, digest := uint64(0), ""
		if b := last[e.Subject]; b != nil {
			before, digest = b.Version, b.Digest
		}
		last[e.Subject] = e
		if e.Version != before+1 {
			complain(e, "version %d follows version %d", e.Version, before)
		}
		if want, err := chain(digest, e.Raw); err != nil || want != e.Digest {
			complain(e, "its digest is %s, it should be %s %v", e.Digest, want, err)
		}
		if agent == "" {
			continue
		}
		command := agent + "." + key + " " + e.CommandID
		if first := done[command]; first != nil {
			complain(e, "command %s took effect before, at revision %d (%s)", e.CommandID, first.Revision, first.Subject)
		}
		done[command] = e
	}
	return wrong
}

// chain computes a digest as the wire contract defines it: SHA-256 over the
// previous digest and the canonical form (RFC 8785) of the event without its
// digest.
func chain(previous string, raw []byte) (string, error) {
	at := bytes.LastIndex(raw, []byte(`,"digest":"`))
	if at < 0 {
		return "", fmt.Errorf("there is none")
	}
	body := jsontext.Value(append(bytes.Clone(raw[:at]), '}'))
	if err := body.Canonicalize(); err != nil {
		return "", err
	}
	sum := sha256.Sum256(append([]byte(previous), body...))
	return hex.EncodeToString(sum[:]), nil
}

// Last returns the last change of every entry, which every view must show.
func Last(all []Event) map[string]*Event {
	last := map[string]*Event{}
	for i := range all {
		if agent, key, loser := all[i].Entry(); agent != "" && !loser {
			last[agent+"."+key] = &all[i]
		}
	}
	return last
}

// EventsDir returns the directory of the stream EVENTS at or below root. Its path names
// the account of the engine.
func EventsDir(t testing.TB, root string) (found string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == "EVENTS" {
			found = path
			return filepath.SkipAll
		}
		return err
	})
	if err == nil && found == "" {
		err = errors.New("there is no stream EVENTS")
	}
	Must(t, err)
	return found
}
