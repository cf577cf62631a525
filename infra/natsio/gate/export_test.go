package gate

import (
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/internal/identity"
)

// Answers asks as a client of an account and counts the answers.
func (g *Gate) Answers(account string, access Access, api string, body []byte) (answers int) {
	g.answer(&request{
		gate: g, caller: &identity.Caller{Principal: "bob", Account: account}, access: access, api: api, tokens: strings.Split(api, "."),
		msg: &nats.Msg{Data: body}, respond: func(*nats.Msg) { answers++ },
	})
	return answers
}

// Overload refuses a request of a connection.
func (g *Gate) Overload(connection uint64, body []byte, answered func()) {
	g.overloaded(&request{
		gate: g, caller: &identity.Caller{Principal: "bob"}, connection: connection, tokens: []string{"INFO"},
		msg: &nats.Msg{Data: body}, respond: func(*nats.Msg) { answered() },
	}, "retry later")
}

// The bounds of requests.
const (
	MaxOpen      = maxOpen
	MaxOpenOfOne = maxOpenOfOne
	MaxAtOnce    = maxAtOnce
)

// Turns are the requests of accounts without a gate.
type Turns struct {
	turns
	start func(func())
}

// NewTurns makes turns that start requests with a function.
func NewTurns(start func(func())) *Turns {
	return &Turns{turns{of: map[string]*line{}}, start}
}

// Enter has a request answered in its turn.
func (t *Turns) Enter(account string, answer func()) bool { return t.enter(account, answer, t.start) }

// Left is how many requests and accounts are left.
func (t *Turns) Left() int { return t.all + len(t.of) }
