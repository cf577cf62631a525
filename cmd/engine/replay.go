package main

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// replayCmd prints events as they are stored, one a line, partition by
// partition, in the order of the journal.
type replayCmd struct {
	target
	From      string `help:"First revision, or RFC 3339 time." placeholder:"REV|TIME"`
	To        string `help:"Last revision, or RFC 3339 time; default: the journal's head now." placeholder:"REV|TIME"`
	Subject   string `help:"Only events whose subject matches: 'events.agent.a1.>'." placeholder:"PATTERN"`
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
	journal, err := natsio.OpenExisting(ctx, nc, natsio.NewSubjects(c.SubjectPrefix))
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(out, 1<<16)
	for p := range journal.Partitions() {
		err := journal.Raw(ctx, p, natsio.RawRange{
			FromRevision: from.revision, FromTime: from.at, ToRevision: to.revision, ToTime: to.at, Subject: c.Subject,
		}, func(msg jetstream.Msg, revision uint64) error {
			return c.print(w, msg, p, revision)
		})
		if err != nil {
			return err
		}
	}
	return w.Flush()
}

func (c *replayCmd) print(w *bufio.Writer, msg jetstream.Msg, p int, revision uint64) error {
	if c.Positions {
		fmt.Fprintf(w, `{"subject":%q,"partition":%d,"revision":%d,"event":`, msg.Subject(), p, revision)
	}
	if _, err := w.Write(oneLine(msg.Data())); err != nil {
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
