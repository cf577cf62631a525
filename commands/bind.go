package commands

import (
	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// bind ties a command to an aggregate whose events carry its state: S is the
// state, f its fold, C the domain's command.
func bind[S, C any](aggregate, id, key string, s events.Stream, request string, f fold[S], c C,
	decide func(S, C, domain.Ask) domain.Decision) Command {
	return Command{
		Aggregate: aggregate, ID: id, Key: key, Stream: s, Request: request,
		fold: f.carried,
		decide: func(state any, ask domain.Ask) domain.Decision {
			known, _ := state.(S) // nil before the first event: the zero state
			return decide(known, c, ask)
		},
		replay: replayPlain,
	}
}

// replayPlain is the answer that a command got when its event was made, for
// aggregates without losers.
func replayPlain(rec *events.Record) (past, error) {
	var d struct {
		Request string `json:"request"`
	}
	err := json.Unmarshal(rec.Data, &d)
	return past{request: d.Request, outcome: domain.Accepted, version: rec.Version, revision: rec.Revision}, err
}
