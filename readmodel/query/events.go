package query

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/internal/wait"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

const (
	maxEventsWait = 30 * time.Second
	maxPattern    = 512 // bytes

	// maxScan and maxScanBytes are how many events one request reads, those that the
	// filter and the grants leave out included.
	maxScan      = 20_000
	maxScanBytes = 64 << 20
	// gatherEvents is how long a query waits for more events after some that it does not
	// show.
	gatherEvents = 50 * time.Millisecond
)

// eventsRead answers a page of the history of a partition, oldest first. Where there is
// no event to show it waits for one; the page is then empty, and next is after the
// events that were read.
func (q *Query) eventsRead(ctx context.Context, _ string, in *request) ([]byte, error) {
	p, err := q.eventPage(ctx, in)
	if err != nil {
		return nil, err
	}
	if read := q.ahead.take(ctx, p.key(q.Rows.ID())); read != nil {
		p = read
	}
	waiting, cancel := context.WithTimeout(ctx, in.wait())
	defer cancel()
	for stopped := false; ; {
		head, err := q.Rows.Head(ctx, p.partition)
		if err == nil && p.next <= head && p.count == 0 {
			err = p.read(ctx, q.Rows.History, head)
		}
		if err != nil && !errors.Is(err, errFull) {
			return nil, tiers.Unavailable("journal", err)
		}
		if err != nil || p.count > 0 || p.next <= head || p.next > p.until || stopped || waiting.Err() != nil {
			q.ahead.start(ctx, q.Rows.History, p, head)
			return p.encode(&q.Rows, head), nil
		}
		err = wait.Idle(waiting, func(ctx context.Context) {
			if q.Tail.Wait(ctx, p.partition, p.next) && p.scanned > 0 {
				_ = wait.Sleep(ctx, gatherEvents)
			}
			stopped = ctx.Err() != nil
		})
		if err != nil {
			return nil, err
		}
	}
}

// eventPage reads the request: 400 subject.invalid, partition.invalid, until.invalid.
func (q *Query) eventPage(ctx context.Context, in *request) (*eventPage, error) {
	p := newEventPage(0, events.Pattern(in.Subject), in.limit, in.permission)
	if q.MaxAnswer != nil {
		p.room = int(q.MaxAnswer()) - history.MessageRoom
	}
	if len(in.Subject) > maxPattern || !p.pattern.Valid() {
		return nil, domain.Errorf(domain.Invalid, "subject.invalid",
			"subject %.128q is not a pattern of names below events., like agent.a1.>: * stands for one token, a last > for one or more", in.Subject)
	}
	for _, root := range []string{"events.", q.Prefix + "events."} {
		if strings.HasPrefix(in.Subject+".", root) {
			return nil, domain.Errorf(domain.Invalid, "subject.invalid", "subject %.128q begins with %s: leave that out, as in agent.a1.>", in.Subject, root)
		}
	}
	if !p.pattern.Selects() {
		return nil, domain.Errorf(domain.Invalid, "subject.invalid", "subject %.128q matches no event: their names are %s", in.Subject, events.Names)
	}
	aggregate, id, one := p.pattern.Of()
	if in.WaitMS != nil && in.wait() > maxEventsWait {
		return nil, domain.Errorf(domain.Invalid, "wait_ms.invalid", "wait_ms must be 0 to %d", maxEventsWait.Milliseconds())
	}
	if in.From != nil {
		p.next = max(1, *in.From)
	}
	if in.Until != nil {
		p.until = *in.Until
	}
	if p.until < p.next-1 { // a client that has read up to until goes on from the next one
		return nil, domain.Errorf(domain.Invalid, "until.invalid", "until %d is before from %d", p.until, p.next)
	}
	if one && p.permission.set.Event(aggregate, id, "", true) == grants.No {
		return nil, p.permission.Refuse(ctx, grants.EventGrant(aggregate, id))
	}
	switch n := q.Rows.Partitions(); {
	case in.Partition != nil && (*in.Partition < 0 || *in.Partition >= n):
		return nil, domain.Errorf(domain.Invalid, "partition.invalid", "partition must be 0 to %d", n-1).With("partitions", n)
	case in.Partition != nil:
		p.partition = *in.Partition
	case one || n == 1:
		p.partition = q.Rows.Partition(id)
	default:
		return nil, domain.Errorf(domain.Invalid, "body.missing_field",
			"\"partition\" is missing: the journal has %d partitions, and subject does not name one id", n).With("partitions", n)
	}
	return p, nil
}

// eventPage is a page of events while it is read.
type eventPage struct {
	partition  int
	pattern    events.Pattern
	limit      int
	until      uint64 // the last revision that the client wants
	permission *permission
	room       int // of body, in bytes

	next    uint64 // the revision to go on from
	body    []byte
	count   int  // events in body
	scanned int  // events read
	bytes   int  // of them
	sealed  bool // body has content that is stored encrypted
}

func newEventPage(partition int, pattern events.Pattern, limit int, p *permission) *eventPage {
	return &eventPage{
		partition: partition, pattern: pattern, limit: limit, next: 1, until: math.MaxUint64, permission: p,
		body: append(make([]byte, 0, 16<<10), `{"events":[`...), room: math.MaxInt,
	}
}

// errFull ends the reading of a page.
var errFull = errors.New("the page is full")

// read adds events up to head, in one step that ends at the limits: errFull.
func (p *eventPage) read(ctx context.Context, h *history.History, head uint64) error {
	end, after := min(head, p.until), p.next-1
	if _, _, one := p.pattern.Of(); one {
		tried := *p // the server finds the events; a trim may take some of them meanwhile
		r := history.Range{Partition: p.partition, Aggregate: events.AggregateName(p.pattern), After: after, UpTo: end}
		whole, err := h.Untrimmed(ctx, r, tried.add)
		if err != nil && !errors.Is(err, errFull) {
			return err
		}
		if whole {
			if err == nil {
				tried.next = end + 1
			}
			*p = tried
			return err
		}
	}
	step := maxScan - p.scanned
	if p.pattern == "" && p.permission.set.Unrestricted() {
		step = p.limit // it shows all that it reads
	}
	end = min(end, after+uint64(step))
	if err := h.Between(ctx, p.partition, after, end, p.add); err != nil {
		return err
	}
	p.next = end + 1
	return nil
}

// add takes one entry of the history: errFull when the page ends before or with it.
func (p *eventPage) add(m history.Message) error {
	if p.scanned++; p.scanned > maxScan || p.bytes > maxScanBytes {
		return errFull
	}
	p.bytes += len(m.Body)
	if p.shows(&m) {
		if m.Bad != nil && p.count > 0 {
			return errFull
		}
		if m.Bad != nil {
			return m.Bad
		}
		event, sealed := m.Published()
		size := len(p.body)
		if size += len(event); p.count > 0 && size > min(readmodel.PageBytes, p.room) {
			return errFull
		}
		if size > p.room {
			return domain.Errorf(domain.TooLarge, "event.too_large", "the event at revision %d has %d bytes, more than the max_payload of the NATS server lets an answer have: "+
				"raise that, or go on from %d", m.Revision, len(event), m.Revision+1).With("revision", m.Revision)
		}
		p.sealed = p.sealed || sealed
		p.append(event, m.Revision)
	}
	p.next = m.Revision + 1
	if p.count == p.limit {
		return errFull
	}
	return nil
}

// shows reports whether an entry is in the page: an event, or one of a later build, that
// the client wants and may read.
func (p *eventPage) shows(m *history.Message) bool {
	if m.Bad != nil && !errors.Is(m.Bad, events.ErrNewer) || !p.pattern.Matches(m.Name) {
		return false
	}
	if p.permission.set.Unrestricted() {
		return true
	}
	aggregate, id, ok := events.Pattern(m.Name).Of()
	if !ok {
		return false
	}
	switch p.permission.set.Event(aggregate, id, m.Name.Key(), false) {
	case grants.Yes:
		return true
	case grants.IfHolder: // at that event
		return p.permission.holds(&readmodel.Doc{Kind: aggregate, State: m.State})
	}
	return false
}

func (p *eventPage) append(event []byte, revision uint64) {
	if p.count++; p.count > 1 {
		p.body = append(p.body, ',')
	}
	p.body = append(p.body, event[:len(event)-1]...)
	p.body = append(p.body, `,"revision":`...)
	p.body = append(strconv.AppendUint(p.body, revision, 10), '}')
}

func (p *eventPage) encode(rows *Rows, head uint64) []byte {
	b := append(p.body, `],"next":`...)
	b = strconv.AppendUint(b, p.next, 10)
	b = append(b, `,"head":`...)
	b = strconv.AppendUint(b, head, 10)
	b = append(b, ',')
	b = events.AppendString(b, "token", tokenAt(*rows, p.partition, min(p.next-1, head)))
	return append(b, '}')
}
