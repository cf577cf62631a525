package operations

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/console"
	"github.com/tidemark-engine/tidemark/internal/grants"
)

// jobs are the rebuilds and verifications that people began in the console.
type jobs struct {
	mu      sync.Mutex
	all     []*console.Job // the newest first
	running sync.WaitGroup
	ctx     context.Context // ends with the engine
	cancel  context.CancelFunc
	stopped bool
}

// keptJobs bounds the results that are remembered.
const keptJobs = 20

// begin starts a job. One with the id of an earlier one has no effect.
func (j *jobs) begin(job console.Job, run func(ctx context.Context, change func(func(*console.Job))) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, other := range j.all {
		switch {
		case other.ID == job.ID:
			return nil
		case other.Ended.IsZero():
			return console.Rejected("job.running", "A "+strings.TrimSpace(other.Kind+" "+other.View)+" is running; wait for its end")
		}
	}
	if j.stopped {
		return console.ErrStarting
	}
	job.Began = time.Now()
	own := &job
	j.all = slices.Insert(j.all, 0, own)
	j.all = j.all[:min(len(j.all), keptJobs)]
	change := func(f func(*console.Job)) {
		j.mu.Lock()
		defer j.mu.Unlock()
		f(own)
	}
	j.running.Go(func() {
		err := run(j.ctx, change)
		change(func(job *console.Job) {
			job.Ended = time.Now()
			if err != nil {
				job.Failed, job.OK = err.Error(), false
			}
		})
	})
	return nil
}

// list is a copy of the jobs.
func (j *jobs) list() []console.Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := make([]console.Job, len(j.all))
	for i, one := range j.all {
		all[i] = *one
	}
	return all
}

// stop ends the running job, and waits for it while ctx lasts.
func (j *jobs) stop(ctx context.Context) {
	j.mu.Lock()
	j.stopped = true
	j.mu.Unlock()
	j.cancel()
	done := make(chan struct{})
	go func() { j.running.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// Jobs implements console.Operations.
func (o *Operations) Jobs(who console.Caller) []console.Job {
	set := o.grants(who)
	return slices.DeleteFunc(o.jobs.list(), func(j console.Job) bool {
		ok, _ := set.Allows(grants.Action{Kind: grants.Admin, Verb: j.Kind})
		return !ok
	})
}
