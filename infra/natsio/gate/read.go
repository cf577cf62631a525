package gate

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
)

// get reads messages of a stream. A caller that may not read the whole stream
// names subjects that it may read.
func (g *Gate) get(r *request, stream, last string) {
	if r.dev && r.is("DIRECT") {
		if !slices.Contains(g.cfg.Free, stream) { // else the account imports it
			g.forward(r)
		}
		return
	}
	var req getRequest
	if last == "" && len(r.msg.Data) > 0 {
		if err := json.Unmarshal(r.msg.Data, &req); err != nil {
			r.refuse(400, "the request is not JSON")
			return
		}
	} else if last != "" && len(r.msg.Data) > 0 {
		r.refuse(408, "a request that names a subject has no body")
		return
	}
	if !r.access.All(stream) {
		if subjects, ok := req.selects(last, r.is("DIRECT")); !ok || !r.covers(stream, subjects) {
			r.forbidden(stream)
			return
		}
	}
	api := strings.Join(r.tokens[:len(r.tokens)-len(strings.Split(last, "."))], ".")
	var body []byte
	if last == "" {
		api = r.api
		body, _ = json.Marshal(req) // plain values
	} else {
		api += "." + last
	}
	if r.is("DIRECT") && (req.Batch > 1 || len(req.MultiLast) > 0) {
		g.batch(r, api, body)
		return
	}
	g.relay(r, api, body)
}

// batchIdle is how long a batch may pause between two messages.
const batchIdle = 5 * time.Second

func (r *request) covers(stream string, subjects []string) bool {
	return r.gate.covers(r.access, stream, subjects)
}

func (g *Gate) covers(access Access, stream string, subjects []string) bool {
	return !slices.ContainsFunc(subjects, func(s string) bool {
		return !access.Covers(stream, strings.TrimPrefix(s, g.cfg.Subjects.Root("")))
	})
}

// batch asks JetStream and passes on what comes, up to a status or until none comes for a
// while.
func (g *Gate) batch(r *request, api string, body []byte) {
	inbox := g.cfg.Engine.NewInbox()
	sub, err := g.cfg.Engine.SubscribeSync(inbox)
	if err != nil {
		r.unavailable(err)
		return
	}
	defer func() { _ = sub.Unsubscribe() }()
	msg := &nats.Msg{Subject: "$JS.API." + api, Reply: inbox, Data: body}
	if err := g.cfg.Engine.PublishMsg(msg); err != nil {
		r.unavailable(err)
		return
	}
	for first, last := true, false; !last; first = false {
		m, err := nextMsg(g, sub)
		if err != nil {
			if first {
				r.unavailable(err)
			}
			return
		}
		last = m.Header.Get("Status") != ""
		r.respond(&nats.Msg{Header: m.Header, Data: m.Data, Reply: m.Reply})
	}
}

func nextMsg(g *Gate, sub *nats.Subscription) (*nats.Msg, error) {
	deadline := time.Now().Add(batchIdle)
	for {
		m, err := sub.NextMsg(min(time.Second, time.Until(deadline)))
		if err == nil || errors.Is(err, nats.ErrNoResponders) || g.ctx.Err() != nil || time.Now().After(deadline) {
			return m, err
		}
	}
}

// consumerName is the consumer of the engine that stands behind a name of a caller.
func (r *request) consumerName(stream, name string) string {
	if stream == auth.TaskStream && name == auth.TaskConsumer && !r.dev {
		return r.caller.Account
	}
	return name
}
