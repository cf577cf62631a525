package commands

import (
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/events"
)

// readLifecycle reads the lifecycle verbs of an agent.
func readLifecycle(name, typ string) verb {
	return func(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
		var in struct {
			Reason string `json:"reason"`
		}
		if err := domain.DecodeBody(body, &in); err != nil {
			return Command{}, err
		}
		if err := domain.CheckAgentID(id); err != nil {
			return Command{}, err
		}
		return bindLifecycle(id, typ, events.LifecycleChange{Reason: in.Reason, Request: fingerprint(name, in.Reason)}), nil
	}
}

func bindLifecycle(id, typ string, data events.LifecycleChange) Command {
	return bind("agent", id, "", events.Lifecycle(id), data.Request,
		agent.Change{Agent: id, Type: typ, Data: data}, agent.DecideLifecycle)
}
