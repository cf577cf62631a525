package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
)

// replayCmd prints events as they are stored, one a line, partition by
// partition, in the order of the journal.
type replayCmd struct {
	target
	From      string `help:"First revision, or RFC 3339 time." placeholder:"REV|TIME"`
	To        string `help:"Last revision, or RFC 3339 time; default: the journal's head now." placeholder:"REV|TIME"`
	Subject   string `help:"Only events whose subject matches: 'events.agent.a1.>'." placeholder:"PATTERN"`
	Postgres  string `help:"Postgres, where a trimmed journal's past is; default: as the engine's status says." env:"TIDEMARK_POSTGRES" placeholder:"URL"`
	Positions bool   `help:"Wrap each event with its subject, partition and revision."`
	State     bool   `help:"Print not the events but what they had come to at --to: every living row, and a digest."`
}

func (c *replayCmd) Run(ctx context.Context, out *output) error {
	from, err := parseBound(c.From, "--from")
	if err != nil {
		return err
	}
	to, err := parseBound(c.To, "--to")
	if err != nil {
		return err
	}
	nc, err := c.connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	if c.State {
		return c.state(ctx, nc, to, out)
	}
	source, done, err := c.whole(ctx, nc, c.Postgres)
	if err != nil {
		return err
	}
	defer done()
	j := source.Trimmable.(*journal.Journal)
	w := bufio.NewWriterSize(out, 1<<16)
	r := replay{cmd: c, w: w, from: from, to: to, root: natsio.NewSubjects(c.SubjectPrefix).Root("events.")}
	for p := range j.Partitions() {
		if err := r.partition(ctx, source, j, p); err != nil {
			return err
		}
	}
	return w.Flush()
}

// replay is one run of the command.
type replay struct {
	cmd      *replayCmd
	w        *bufio.Writer
	from, to bound
	root     string
}

// errBeyond ends a reading of the journal; not an error.
var errBeyond = errors.New("beyond the end")

// clocks is how far the clocks of engines may lie apart: in a partition, no
// event was recorded so long before one that comes earlier.
const clocks = time.Minute

// partition prints a partition: what was trimmed from the archive, the rest
// from the journal. A time means when an event was recorded, which is the same
// in both, and on the engine that the journal was exported from.
func (r *replay) partition(ctx context.Context, source history.Joined, j *journal.Journal, p int) error {
	cut, err := source.Trimmed(ctx, p)
	if err != nil {
		return err
	}
	if r.to.revision > 0 {
		cut = min(cut, r.to.revision)
	}
	if after := max(r.from.revision, 1) - 1; after < cut {
		err = source.Past(ctx, p, after, cut, func(m history.Message) error {
			return r.event(r.root+string(m.Stream), p, m.Revision, m.RecordedAt, m.Body, true)
		})
	}
	if err == nil {
		err = j.Raw(ctx, p, journal.RawRange{
			FromRevision: r.from.revision, FromTime: r.from.at, ToRevision: r.to.revision, Subject: r.cmd.Subject,
		}, func(msg jetstream.Msg, revision uint64) error {
			if revision <= cut {
				return nil // the archive has told it
			}
			var at time.Time
			if !r.from.at.IsZero() || !r.to.at.IsZero() {
				at = recordedAt(msg)
			}
			return r.event(msg.Subject(), p, revision, at, msg.Data(), false)
		})
	}
	if errors.Is(err, errBeyond) {
		return nil
	}
	return err
}

// event prints an event that is asked for; match is set when its subject was
// not asked for yet.
func (r *replay) event(subject string, p int, revision uint64, recorded time.Time, body []byte, match bool) error {
	switch {
	case !r.to.at.IsZero() && recorded.After(r.to.at.Add(clocks)):
		return errBeyond
	case !r.to.at.IsZero() && recorded.After(r.to.at), recorded.Before(r.from.at),
		match && r.cmd.Subject != "" && !fits(r.cmd.Subject, subject):
		return nil
	}
	return r.cmd.print(r.w, subject, body, p, revision)
}

// recordedAt is when an event was recorded; of what is none, when it was stored.
func recordedAt(msg jetstream.Msg) time.Time {
	if ev, err := events.Decode(msg.Data()); err == nil {
		return ev.RecordedAt
	}
	meta, err := msg.Metadata()
	if err != nil {
		return time.Time{}
	}
	return meta.Timestamp
}

func (c *replayCmd) print(w *bufio.Writer, subject string, body []byte, p int, revision uint64) error {
	if c.Positions {
		fmt.Fprintf(w, `{"subject":%q,"partition":%d,"revision":%d,"event":`, subject, p, revision)
	}
	if _, err := w.Write(oneLine(body)); err != nil {
		return err
	}
	if c.Positions {
		w.WriteByte('}')
	}
	return w.WriteByte('\n')
}

// bound is a revision or a time; both zero = none.
type bound struct {
	revision uint64
	at       time.Time
}

func parseBound(text, flag string) (b bound, err error) {
	if text == "" {
		return b, nil
	}
	if b.revision, err = strconv.ParseUint(text, 10, 64); err == nil {
		return b, nil
	}
	if b.at, err = time.Parse(time.RFC3339Nano, text); err != nil || strings.TrimSpace(text) == "" {
		return b, fmt.Errorf("%s: %q is neither a revision nor an RFC 3339 time", flag, text)
	}
	return b, nil
}
