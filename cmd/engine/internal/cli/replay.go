package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/internal/counted"
	"github.com/tidemark-engine/tidemark/internal/keys"
	"github.com/tidemark-engine/tidemark/projections"
)

// Replay prints events as they are stored, one a line, by partition and in the
// order of the journal.
type Replay struct {
	deployment.Target
	From      string `help:"First revision, or RFC 3339 time." placeholder:"REV|TIME"`
	To        string `help:"Last revision, or RFC 3339 time; default: the present head of the journal." placeholder:"REV|TIME"`
	Subject   string `help:"Only events whose subject matches: 'events.agent.a1.>'." placeholder:"PATTERN"`
	Postgres  string `help:"Postgres with the archive of a trimmed journal; default: as in the engine's status." env:"TIDEMARK_POSTGRES" placeholder:"URL"`
	Positions bool   `help:"Wrap each event with its subject, partition and revision."`
	State     bool   `help:"Print the state at --to instead of the events: every row, and a digest."`

	from, to instant
	Keys     keys.Source `embed:""`
}

// Validate refuses bounds that no event lies between.
func (c *Replay) Validate() (err error) {
	if c.from, err = parseInstant(c.From); err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	if c.to, err = parseInstant(c.To); err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	switch {
	case c.State && c.From != "":
		return errors.New("--state is the state at --to, which has no --from")
	case c.to.name == "at_revision" && c.to.revision == 0:
		return errors.New("--to 0 is before the first event, which has revision 1")
	case c.from.after(&c.to):
		return fmt.Errorf("--from %s is after --to %s", &c.from, &c.to)
	case c.from.revision > 0 && c.to.name == "at_time" || c.from.name == "at_time" && c.to.name == "at_revision":
		return errors.New("--from and --to must both be revisions or both be times")
	case c.from.at.After(time.Now()):
		return fmt.Errorf("--from %s is in the future", &c.from)
	case c.Subject != "" && !wellFormed(c.Subject):
		return fmt.Errorf("--subject: %q is not a subject pattern", c.Subject)
	}
	return nil
}

// checkHead refuses a first revision that no partition has yet, and a subject
// that no event has.
func (c *Replay) checkHead(ctx context.Context, j *journal.Journal) error {
	root := c.Target.Subject("events.")
	if matches := func(p events.Pattern) bool { return server.SubjectsCollide(c.Subject, root+string(p)) }; c.Subject != "" && !slices.ContainsFunc(events.Names, matches) {
		return usagef("--subject: %q matches no event; events are below %s, on %s", c.Subject, root, events.Names)
	}
	last := uint64(0)
	for p := range j.Partitions() {
		head, err := j.Head(ctx, p)
		if err != nil {
			return err
		}
		last = max(last, head)
	}
	if c.from.revision > max(last, 1) {
		return usagef("--from %d is beyond the head of the journal, %d", c.from.revision, last)
	}
	return nil
}

// Run implements the command.
func (c *Replay) Run(ctx context.Context, out *Output) (err error) {
	if c.Remote() && !c.State && c.Postgres == "" && !c.Keys.Given() {
		return c.asked(ctx, out)
	}
	nc, err := c.ConnectStores()
	if err != nil {
		return err
	}
	defer nc.Close()
	stores, err := c.OpenHistory(ctx, nc, c.Postgres, &c.Keys)
	if err != nil && c.Remote() && c.State {
		return fmt.Errorf("%w; --state reads the stores with the engine's own rights, which --data has on its machine", err)
	}
	if err != nil {
		return err
	}
	defer stores.Close()
	if err := c.checkHead(ctx, stores.Journal); err != nil {
		return err
	}
	if c.State {
		return c.state(ctx, stores.History(), out)
	}
	w := bufio.NewWriterSize(out, 1<<16)
	for p := range stores.Journal.Partitions() {
		if err := c.partition(ctx, stores, p, out, w); err != nil {
			return err
		}
	}
	return w.Flush()
}

// errBeyond ends the reading of a partition; it is not an error.
var errBeyond = errors.New("beyond the end")

// maxSkew is how far the clocks of engines may differ: no event of a partition
// was recorded longer before one that comes earlier.
const maxSkew = time.Minute

// partition prints the trimmed events of a partition from the archive and the
// others from the journal. Bounds in time are about the recording of an event,
// which is the same in both, and in the journal that an export came from.
func (c *Replay) partition(ctx context.Context, stores *deployment.Stores, p int, out *Output, w *bufio.Writer) error {
	source, root := stores.History(), c.Target.Subject("events.")
	cut, _, err := source.Trimmed(ctx, p)
	if err != nil {
		return err
	}
	if c.to.revision > 0 {
		cut = min(cut, c.to.revision)
	}
	if after := max(c.from.revision, 1) - 1; after < cut {
		err = source.Between(ctx, p, after, cut, func(m history.Message) error {
			subject := root + string(m.Name)
			if c.Subject != "" && !server.SubjectMatchesFilter(subject, c.Subject) {
				return c.beyond(m.RecordedAt)
			}
			body, err := stores.Published(ctx, m.Body)
			if err != nil {
				return err
			}
			return c.event(out, w, subject, p, m.Revision, m.RecordedAt, body)
		})
	}
	if err == nil {
		err = stores.Journal.Raw(ctx, p, journal.RawRange{
			FromRevision: c.from.revision, FromTime: c.from.at, ToRevision: c.to.revision, Subject: c.Subject,
		}, func(msg jetstream.Msg, revision uint64) error {
			if revision <= cut {
				return nil // printed from the archive
			}
			var at time.Time
			if !c.from.at.IsZero() || !c.to.at.IsZero() {
				at = recordedAt(msg)
			}
			body, err := stores.Published(ctx, msg.Data())
			if err != nil {
				return err
			}
			return c.event(out, w, msg.Subject(), p, revision, at, body)
		})
	}
	if errors.Is(err, errBeyond) {
		return nil
	}
	return err
}

// event prints an event that was recorded between the bounds.
func (c *Replay) event(out *Output, w *bufio.Writer, subject string, p int, revision uint64, recorded time.Time, body []byte) error {
	if err := c.beyond(recorded); err != nil {
		return err
	}
	if recorded.Before(c.from.at) || !c.to.at.IsZero() && recorded.After(c.to.at) {
		return nil
	}
	if c.Positions {
		fmt.Fprintf(w, `{"subject":%q,"partition":%d,"revision":%d,"event":`, subject, p, revision)
	}
	w.Write(out.line(body))
	if c.Positions {
		w.WriteByte('}')
	}
	return w.WriteByte('\n')
}

// beyond is errBeyond when no later event can be between the bounds.
func (c *Replay) beyond(recorded time.Time) error {
	if !c.to.at.IsZero() && recorded.After(c.to.at.Add(maxSkew)) {
		return errBeyond
	}
	return nil
}

// recordedAt is the recording time of an event; of a message that is not an
// event, its storing time.
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

// state prints every row of the read model as of an instant, sorted, one JSON
// object a line; to standard error their number and the digest of all lines.
func (c *Replay) state(ctx context.Context, source history.Source, out *Output) error {
	state := projections.State{Revision: c.to.revision, Time: c.to.at}
	if c.Subject != "" {
		root := c.Target.Subject("events.")
		state.Match = func(s events.AggregateName) bool { return server.SubjectMatchesFilter(root+string(s), c.Subject) }
	}
	for p := range source.Partitions() {
		bar := NewProgress(-1, fmt.Sprintf("partition %d", p), "events")
		state.Step = func(at, _ uint64) { bar.Set(int(at)) }
		err := state.Fold(ctx, source, p)
		bar.End()
		if err != nil {
			return err
		}
	}
	rows := state.Rows()
	for i := range rows {
		rows[i] = oneLine(rows[i])
	}
	slices.SortFunc(rows, bytes.Compare)
	sum := sha256.New() // of the rows as --json prints them
	w := bufio.NewWriterSize(out, 1<<16)
	for _, row := range rows {
		sum.Write(row)
		sum.Write([]byte{'\n'})
		w.Write(out.line(row))
		w.WriteByte('\n')
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, bad := range state.Bad {
		fmt.Fprintln(os.Stderr, Escape(bad))
	}
	fmt.Fprintf(os.Stderr, "%s, digest sha256:%x\n", counted.Of(len(rows), "row"), sum.Sum(nil))
	if len(state.Bad) > 0 {
		return errors.New("the state lacks the events that cannot be read")
	}
	return nil
}
