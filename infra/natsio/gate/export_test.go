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
