package durable

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tidemark-engine/tidemark/projections"
)

// teller tells one partition's listeners what was committed, one thing at a
// time and in order, beside the view. What it could not tell it tells again
// until it is stopped; what is too much to remember, from the journal, which
// has to look for each old value. What was put right behind the position is
// remembered only: it is told late, or where the process ends first, not at all.
type teller struct {
	notify    projections.Notifier
	partition int
	note      func(ctx context.Context, told uint64) // keeps up to where all has been told

	mu     sync.Mutex
	told   uint64
	want   uint64        // up to where the view has committed
	queue  []written     // what is to be told, in order; those with positions begin where told ends
	bytes  int           // of the queue, roughly
	done   chan struct{} // closed when nothing is told any more; nil = nothing is
	eased  chan struct{} // has one when the queue became shorter
	cancel context.CancelFunc
}

func newTeller(n projections.Notifier, partition int, note func(context.Context, uint64)) *teller {
	return &teller{notify: n, partition: partition, note: note, eased: make(chan struct{}, 1)}
}

// written is what one transaction has changed: from a position to another or,
// where they are the same, behind one: what was held back or put right.
type written struct {
	from, to uint64
	notices  []projections.Notice
	bytes    int // roughly, as it was queued: telling it may fill in old values
}

const (
	// tellTime bounds what a stop waits for all partitions' telling, and the
	// noting of how far it is. A telling has its notifier's bounds.
	tellTime = 5 * time.Second
	// tellBytes bounds what is remembered of a partition to be told.
	tellBytes = 32 << 20
	// tellPatience bounds how long a batch that finds no room waits for it. One
	// that got none is told from the journal, and so are those after it until
	// that is level: they wait for nothing, however far it is behind.
	tellPatience = 200 * time.Millisecond
)

// restart begins at where all has been told, with what was committed since.
// Nothing is being told.
func (t *teller) restart(told, want uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.told, t.want = told, want
	t.queue = slices.DeleteFunc(t.queue, func(w written) bool { return w.from < w.to })
	t.bytes = 0
	for i := range t.queue {
		t.bytes += t.queue[i].bytes
	}
	t.begin()
}

// tell takes what was committed. The view goes on meanwhile.
func (t *teller) tell(w written) {
	w.bytes = projections.SizeOf(w.notices)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.awaitRoom(&w)
	if w.from == w.to || t.follows(&w) && t.room(&w) { // else it is told from the journal
		t.queue = append(t.queue, w)
		t.bytes += w.bytes
	}
	t.want = max(t.want, w.to)
	t.begin()
}

// awaitRoom waits until what was written has room in the queue, where room is
// all it lacks; mu is held, but not while it waits. What was put right is queued
// in any case: its waiting only keeps the queue from growing without bounds.
func (t *teller) awaitRoom(w *written) {
	var late *time.Timer
	for t.done != nil && (w.from == w.to || t.follows(w)) && !t.room(w) {
		if late == nil {
			late = time.NewTimer(tellPatience)
			defer late.Stop()
		}
		done, patient := t.done, true
		t.mu.Unlock()
		select {
		case <-t.eased:
		case <-done:
		case <-late.C:
			patient = false
		}
		t.mu.Lock()
		if !patient {
			return
		}
	}
}

// follows tells whether what was written begins where the queue ends: nothing
// before it is left to the journal. mu is held.
func (t *teller) follows(w *written) bool { return t.want <= w.from && t.reach() >= w.from }

func (t *teller) room(w *written) bool { return len(t.queue) == 0 || t.bytes+w.bytes <= tellBytes }

// reach is up to where all has been told once the queue has; mu is held.
func (t *teller) reach() uint64 {
	for i := len(t.queue) - 1; i >= 0; i-- {
		if t.queue[i].from < t.queue[i].to {
			return t.queue[i].to
		}
	}
	return t.told
}

// begin starts to tell where there is something to tell; mu is held.
func (t *teller) begin() {
	if t.done != nil || t.told >= t.want && len(t.queue) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.done, t.cancel = make(chan struct{}), cancel
	go t.run(ctx)
}

func (t *teller) run(ctx context.Context) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 100*time.Millisecond, 10*time.Second
	for {
		if t.once(ctx) {
			pause.Reset()
		} else {
			select {
			case <-time.After(pause.NextBackOff()):
			case <-ctx.Done():
			}
		}
		t.mu.Lock()
		if ctx.Err() != nil || t.told >= t.want && len(t.queue) == 0 {
			t.cancel()
			close(t.done)
			t.done = nil
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
	}
}

// once tells one thing, and whether that brought anything.
func (t *teller) once(ctx context.Context) bool {
	t.mu.Lock()
	told, want := t.told, t.want
	queued := len(t.queue) > 0
	var next written // a copy: the queue may move to another array meanwhile
	if queued {
		next = t.queue[0]
	}
	t.mu.Unlock()
	if !queued {
		at, _ := t.notify.Again(ctx, t.partition, told, want)
		if at <= told {
			return false
		}
		t.noted(ctx, at)
		return true
	}
	if len(next.notices) > 0 && t.notify.Notify(ctx, t.partition, next.from, next.notices) != nil {
		return false
	}
	t.mu.Lock()
	t.bytes -= next.bytes
	t.queue[0] = written{} // the queue's array lives on
	t.queue = t.queue[1:]
	if next.from < next.to { // with the queue as one: who follows it must find where it ended
		t.told = max(t.told, next.to)
	}
	t.mu.Unlock()
	select {
	case t.eased <- struct{}{}:
	default:
	}
	if next.from < next.to {
		t.noted(ctx, next.to)
	}
	return true
}

func (t *teller) noted(ctx context.Context, told uint64) {
	t.mu.Lock()
	t.told = max(t.told, told)
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTime)
	defer cancel()
	t.note(ctx, told)
}

// settle waits until nothing is told any more, or for as long as patience lasts.
func (t *teller) settle(patience time.Duration) {
	t.mu.Lock()
	done := t.done
	t.mu.Unlock()
	if done == nil {
		return
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
	}
}

// stop ends the telling; what is left is told after the next Load.
func (t *teller) stop() {
	t.mu.Lock()
	done := t.done
	if done != nil {
		t.cancel()
	}
	t.mu.Unlock()
	if done != nil {
		<-done
	}
}
