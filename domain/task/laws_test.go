package task_test

import (
	"testing"

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
		},
	}.Laws(t)
}

func draw(t *rapid.T) task.Command {
	c := task.Command{ID: "t1"}
	value := []byte(rapid.SampledFrom([]string{`null`, `1.50`, `{"a":[12345678901234567890,"\u0041"]}`, `""`}).Draw(t, "value"))
	text := rapid.SampledFrom([]string{"", "slow", "é\n"}).Draw(t, "text")
	switch rapid.IntRange(0, 5).Draw(t, "verb") {
	case 0:
		c.Type, c.Data = events.TaskCreated, events.TaskCreate{
			Kind: "k", Payload: value, AgentID: "a1", Priority: rapid.IntRange(0, 10).Draw(t, "priority"),
			Deadline: domaintest.Time(t, "deadline"), Request: "r",
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
