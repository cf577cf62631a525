package reactors

import (
	"context"
	"time"
)

// keepNear fires a reminder from memory, if its due time is near. The durable timer
// stands behind it.
func (r *Reminders) keepNear(id string, at time.Time) {
	wait := at.Sub(r.Now())
	if !r.Near || wait > nearTime {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.near == nil {
		r.near = map[string]*time.Timer{}
	}
	if old := r.near[id]; old != nil {
		old.Stop()
		delete(r.near, id)
	}
	if r.stopped || len(r.near) >= nearLimit {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(max(wait, 0), func() {
		r.mu.Lock()
		current := r.near[id] == timer && !r.stopped
		if current {
			delete(r.near, id)
			r.running.Add(1)
		}
		r.mu.Unlock()
		if !current {
			return
		}
		defer r.running.Done()
		ctx, cancel := context.WithTimeout(context.Background(), timerTime)
		defer cancel()
		_ = r.fire(ctx, id) // after an error the durable timer retries
	})
	r.near[id] = timer
}

// timerTime bounds the work of one timer from memory.
const timerTime = 15 * time.Second

// Stop ends the timers in memory and waits for those that work.
func (r *Reminders) Stop() {
	r.mu.Lock()
	r.stopped = true
	for id, timer := range r.near {
		timer.Stop()
		delete(r.near, id)
	}
	r.mu.Unlock()
	r.running.Wait()
}

// alone waits until no other timer of this engine works on a reminder: a command that is
// refused leaves no event, and a second delivery of it might be accepted. done ends the
// work.
func (r *Reminders) alone(id string) (done func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.busy[id] != nil {
		other := r.busy[id]
		r.mu.Unlock()
		<-other
		r.mu.Lock()
	}
	if r.busy == nil {
		r.busy = map[string]chan struct{}{}
	}
	end := make(chan struct{})
	r.busy[id] = end
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.busy, id)
		close(end)
	}
}
