package task_test

import (
	"bytes"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/domaintest"
	"github.com/tidemark-engine/tidemark/domain/task"
	"github.com/tidemark-engine/tidemark/events"
)

func TestLaws(t *testing.T) {
	domaintest.Aggregate[task.Task, task.Command]{
		Evolve:  task.Evolve,
		Decide:  task.Decide,
		Command: draw,
		Load:    domain.CarriedState[task.Task],
		Types: []string{
			events.TaskCreated, events.TaskStarted, events.TaskProgressed, events.TaskCompleted, events.TaskFailed, events.TaskCancelled,
			events.TaskErased, events.TaskRetried, events.TaskLeaseExpired,
		},
	}.Laws(t)
}

// Erasing ends a task that is open and leaves no content, which Outline has none of.
func TestErased(t *testing.T) {
	const marker = "CONTENT"
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for from, want := range map[task.Status]task.Status{
		task.Created: task.Cancelled, task.Started: task.Cancelled, task.Completed: task.Completed, task.Failed: task.Failed, task.Cancelled: task.Cancelled,
	} {
		full := task.Task{
			Status: from, Kind: "k", Payload: []byte(`"` + marker + `"`), AgentID: "a1", Note: marker, Result: []byte(`"` + marker + `"`), Detail: marker, Reason: "slug",
		}
		if from == task.Cancelled {
			full.Reason = marker
		}
		agent, outline := full.Outline()
		erased, err := task.Evolve(full, &events.Event{Type: events.TaskErased, Timestamp: at})
		if err != nil || agent != "a1" || outline.Status != from || erased.Status != want || erased.Kind != "k" || from == task.Failed && erased.Reason != "slug" {
			t.Errorf("%s: outline %+v of %s, erased %+v, %v", from, outline, agent, erased, err)
		}
		if from != want && !erased.FinishedAt.Equal(at) {
			t.Errorf("%s: finished at %s", from, erased.FinishedAt)
		}
		for _, s := range []task.Task{outline, erased} {
			if body, err := domain.Encode(s); err != nil || bytes.Contains(body, []byte(marker)) {
				t.Errorf("%s: %s, %v", from, body, err)
			}
		}
	}
}

func draw(t *rapid.T) task.Command {
	c := task.Command{ID: "t1"}
	value := []byte(rapid.SampledFrom([]string{`null`, `1.50`, `{"a":[12345678901234567890,"\u0041"]}`, `""`}).Draw(t, "value"))
	text := rapid.SampledFrom([]string{"", "slow", "é\n"}).Draw(t, "text")
	verb := rapid.IntRange(0, 7).Draw(t, "verb")
	if verb > 1 && verb < 6 && rapid.Bool().Draw(t, "fenced") {
		fence := rapid.Uint64Range(0, 4).Draw(t, "fence")
		c.Holder, c.Fence = rapid.SampledFrom([]string{"", "a1", "a2"}).Draw(t, "holder"), &fence
	}
	switch verb {
	case 6:
		c.Who, c.Claim = rapid.SampledFrom([]string{"a1", "a2"}).Draw(t, "who"), true
		c.Type, c.Data = events.TaskStarted, events.TaskStart{AgentID: c.Who, LeaseMS: rapid.SampledFrom([]int64{1, 1000, 3_600_000}).Draw(t, "lease"), Request: "r"}
	case 7:
		fence := rapid.Uint64Range(0, 4).Draw(t, "fence")
		c.Type, c.Data, c.Fence = events.TaskLeaseExpired, events.TaskLeaseExpire{Request: "r"}, &fence
	case 0:
		c.Type, c.Data = events.TaskCreated, events.TaskCreate{
			Kind: "k", Payload: value, AgentID: "a1", Priority: rapid.IntRange(0, 10).Draw(t, "priority"),
			Deadline: domaintest.Time(t, "deadline"), Request: "r",
		}
		if rapid.Bool().Draw(t, "retries") {
			create := c.Data.(events.TaskCreate)
			create.Retry = &events.TaskRetry{MaxAttempts: rapid.IntRange(1, 3).Draw(t, "attempts"), BackoffMS: rapid.Int64Range(0, 2).Draw(t, "backoff")}
			if rapid.Bool().Draw(t, "for none") {
				create.AgentID, create.Deadline = "", time.Time{}
			}
			c.Data = create
		}
	case 1:
		c.Who = rapid.SampledFrom([]string{"a1", "a2"}).Draw(t, "who")
		c.Type, c.Data = events.TaskStarted, events.TaskStart{AgentID: c.Who, Request: "r"}
	case 2:
		percent := rapid.Float64Range(0, 100).Draw(t, "percent")
		c.Type, c.Data = events.TaskProgressed, events.TaskProgress{Percent: &percent, Note: text, Request: "r"}
	case 3:
		c.Type, c.Data = events.TaskCompleted, events.TaskComplete{Result: value, Request: "r"}
	case 4:
		c.Type, c.Data = events.TaskFailed, events.TaskEnd{Reason: "boom", Detail: text, Request: "r"}
	case 5:
		c.Type, c.Data = events.TaskCancelled, events.TaskEnd{Reason: text, Request: "r"}
	}
	return c
}
