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

// ack passes an acknowledgement in the JetStream of DEV on. The account imports those that
// clients may send to the engine's streams.
func (g *Gate) ack(m *nats.Msg, rest string) {
	if stream, _, _ := strings.Cut(rest, "."); slices.Contains(g.cfg.Free, stream) {
		return
	}
	err := g.cfg.Dev.PublishMsg(&nats.Msg{Subject: auth.OwnAckRoot(g.cfg.Accounts) + rest, Reply: m.Reply, Header: m.Header, Data: m.Data})
	if err != nil {
		g.log.Warn("an acknowledgement was not passed on", "error", err) // the server delivers again
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

// source is what a stream copies.
type source struct {
	External   json.RawMessage `json:"external"` // it is in another account
	Transforms []transform     `json:"subject_transforms"`
	Consumer   struct {
		Deliver string `json:"deliver_subject"`
	} `json:"consumer"`
}

// transform is how a stream changes the subjects of what it stores.
type transform struct {
	To string `json:"dest"`
}

// pattern matches all subjects that a transform makes: what a function or a number stands
// for may be any tokens.
func (t transform) pattern() string {
	tokens := strings.Split(t.To, ".")
	for i, token := range tokens {
		if strings.HasPrefix(token, "{{") || len(token) > 1 && token[0] == '$' && token[1] >= '0' && token[1] <= '9' {
			return strings.Join(append(tokens[:i:i], ">"), ".")
		}
	}
	return t.To
}

// refusesSource says why a stream of DEV may not copy; empty = it may.
func (g *Gate) refusesSource(s *source) string {
	if len(s.Transforms) > maxFilters {
		return fmt.Sprintf("a source has at most %d transforms, this has %d", maxFilters, len(s.Transforms))
	}
	if set(s.External) {
		return "a stream of a client cannot copy one of another account"
	}
	if s.Consumer.Deliver != "" && g.engines(s.Consumer.Deliver) {
		return "a source cannot listen to " + s.Consumer.Deliver + ", which is the engine's or the server's"
	}
	return g.refusesTransforms(s.Transforms)
}

// refusesTransforms says why a stream of DEV may not store under the subjects of transforms:
// who reads them takes their messages for the engine's.
func (g *Gate) refusesTransforms(all []transform) string {
	for _, t := range all {
		if to := t.pattern(); t.To != "" && g.engines(to) && !ownBucket(to) {
			return fmt.Sprintf("a stream of a client cannot store under %s, which is the engine's or the server's", t.To)
		}
	}
	return ""
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
			Transform transform       `json:"subject_transform"`
			Mirror    *source         `json:"mirror"`
			Sources   []source        `json:"sources"`
		}
		if err := json.Unmarshal(r.msg.Data, &cfg); err != nil {
			return "the configuration of the stream cannot be read"
		}
		if most := max(len(cfg.Subjects), len(cfg.Sources)); most > maxFilters {
			return fmt.Sprintf("a stream of a client has at most %d subjects and sources, this has %d", maxFilters, most)
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
		if cfg.Mirror != nil {
			cfg.Sources = append(cfg.Sources, *cfg.Mirror)
		}
		for i := range cfg.Sources {
			if why := g.refusesSource(&cfg.Sources[i]); why != "" {
				return why
			}
		}
		return g.refusesTransforms([]transform{cfg.Transform})
	case r.is("STREAM", "RESTORE"), r.is("STREAM", "SNAPSHOT"):
		return "streams of clients are neither saved nor restored through the server's API"
	case r.is("CONSUMER", "CREATE"), r.is("CONSUMER", "DURABLE"):
		var req struct {
			Config struct {
				Deliver string   `json:"deliver_subject"`
				Filters []string `json:"filter_subjects"`
			} `json:"config"`
		}
		if err := json.Unmarshal(r.msg.Data, &req); err != nil {
			return "the configuration of the consumer cannot be read"
		}
		if len(req.Config.Filters) > maxFilters {
			return fmt.Sprintf("a consumer has at most %d filters, this has %d", maxFilters, len(req.Config.Filters))
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
