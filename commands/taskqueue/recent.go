package taskqueue

import "time"

const (
	// Remembered is how long a command id is remembered after its claim.
	Remembered = 10 * time.Minute
	maxRecent  = 250_000
)

// recent remembers which task a command id has claimed.
type recent struct {
	tasks map[claimID]string
	order []claim
	from  time.Time // claims since then are all here
}

// claimID is a command id of the agent that claims: those of others are other commands.
type claimID struct{ agent, command string }

type claim struct {
	id claimID
	at time.Time
}

func newRecent() recent { return recent{tasks: map[claimID]string{}} }

func (r *recent) add(id claimID, task string, at time.Time) {
	if r.tasks[id] == task || at.Before(r.from) {
		return
	}
	if _, known := r.tasks[id]; !known {
		r.order = append(r.order, claim{id, at})
	}
	r.tasks[id] = task
	for len(r.order) > 0 && (len(r.order) > maxRecent || at.Sub(r.order[0].at) > Remembered) {
		if first := r.order[0].at; first.After(r.from) { // a load adds them in no order
			r.from = first
		}
		delete(r.tasks, r.order[0].id)
		r.order = r.order[1:]
	}
}
