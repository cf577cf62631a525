package gate

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
)

// own passes a request for the JetStream of DEV on, when it can neither take nor
// send what belongs to the engine.
func (g *Gate) own(r *request) {
	if why := g.refuses(r); why != "" {
		r.refuse(403, "forbidden: "+why)
		return
	}
	err := g.cfg.Dev.PublishMsg(&nats.Msg{Subject: auth.OwnAPIRoot + r.api, Reply: r.msg.Reply, Header: r.msg.Header, Data: r.msg.Data})
	if err != nil {
		r.unavailable(err)
	}
}

// askOwn asks the JetStream of DEV.
func (g *Gate) askOwn(api string) func(body []byte) (*nats.Msg, error) {
	return func(body []byte) (*nats.Msg, error) {
		ctx, cancel := context.WithTimeout(g.ctx, apiTimeout)
		defer cancel()
		return g.cfg.Dev.RequestWithContext(ctx, auth.OwnAPIRoot+api, body)
	}
}

// external is a source of a stream in another account.
type external struct {
	External json.RawMessage `json:"external"`
}

// refuses says why a request may not pass; empty = it may.
func (g *Gate) refuses(r *request) string {
	switch {
	case (r.is("STREAM") || r.is("CONSUMER")) && r.stream() == "" && !r.is("STREAM", "NAMES") && !r.is("STREAM", "LIST"):
		return "the request names no stream"
	case r.is("STREAM", "CREATE"), r.is("STREAM", "UPDATE"):
		var cfg struct {
			Name      string          `json:"name"`
			Subjects  []string        `json:"subjects"`
			RePublish json.RawMessage `json:"republish"`
			Mirror    *external       `json:"mirror"`
			Sources   []external      `json:"sources"`
		}
		if err := json.Unmarshal(r.msg.Data, &cfg); err != nil {
			return "the configuration of the stream cannot be read"
		}
		if len(cfg.Subjects) == 0 && cfg.Mirror == nil && len(cfg.Sources) == 0 {
			cfg.Subjects = []string{cfg.Name} // what the server assumes
		}
		for _, subject := range cfg.Subjects {
			if g.engines(subject) && !ownBucket(subject) {
				return fmt.Sprintf("a stream of a client cannot take the subjects %s, which are the engine's or the server's", subject)
			}
		}
		if set(cfg.RePublish) {
			return "a stream of a client cannot republish"
		}
		if cfg.Mirror != nil && set(cfg.Mirror.External) {
			return "a stream of a client cannot mirror one of another account"
		}
		for _, source := range cfg.Sources {
			if set(source.External) {
				return "a stream of a client cannot have a source in another account"
			}
		}
	case r.is("STREAM", "RESTORE"), r.is("STREAM", "SNAPSHOT"):
		return "streams of clients are neither saved nor restored through the server's API"
	case r.is("CONSUMER", "CREATE"), r.is("CONSUMER", "DURABLE"):
		var req struct {
			Config struct {
				Deliver string `json:"deliver_subject"`
			} `json:"config"`
		}
		if err := json.Unmarshal(r.msg.Data, &req); err != nil {
			return "the configuration of the consumer cannot be read"
		}
		if req.Config.Deliver != "" && g.engines(req.Config.Deliver) {
			return "a consumer cannot deliver to " + req.Config.Deliver + ", which is the engine's or the server's"
		}
	case r.is("CONSUMER", "RESET"):
		return "a consumer of a client is not reset through the server's API"
	default:
		if !slices.ContainsFunc(ownRequests, func(tokens []string) bool { return r.is(tokens...) }) {
			return "clients have no request " + r.api
		}
	}
	return ""
}

// ownRequests may pass as they are. The server answers others to no client, or only in
// its own account.
var ownRequests = [][]string{
	{"INFO"}, {"STREAM", "INFO"}, {"STREAM", "NAMES"}, {"STREAM", "LIST"}, {"STREAM", "DELETE"}, {"STREAM", "PURGE"}, {"STREAM", "MSG", "GET"}, {"STREAM", "MSG", "DELETE"},
	{"DIRECT", "GET"}, {"CONSUMER", "INFO"}, {"CONSUMER", "NAMES"}, {"CONSUMER", "LIST"}, {"CONSUMER", "DELETE"}, {"CONSUMER", "MSG", "NEXT"}, {"CONSUMER", "PAUSE"}, {"CONSUMER", "UNPIN"},
}

func set(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// ownBucket reports whether a subject is of a bucket or object store that is not
// the engine's.
func ownBucket(subject string) bool {
	tokens := strings.Split(subject, ".")
	if len(tokens) < 3 || strings.ContainsAny(tokens[1], "*>") {
		return false
	}
	return tokens[0] == "$KV" && !Reserved("KV_"+tokens[1]) || tokens[0] == "$O"
}
