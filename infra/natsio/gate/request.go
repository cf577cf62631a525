package gate

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/internal/identity"
)

// request is a request of the JetStream API.
type request struct {
	gate   *Gate
	caller *identity.Caller
	access Access
	dev    bool

	connection uint64 // its number at the server; 0 = not known
	origin     string // its account and host

	api     string // "STREAM.INFO.EVENTS"
	tokens  []string
	msg     *nats.Msg
	respond func(*nats.Msg)
}

// stream is the token of a stream's name in a request, empty when it has none.
func (r *request) stream() string {
	at := -1
	switch {
	case r.is("STREAM", "MSG"), r.is("CONSUMER", "MSG"), r.is("CONSUMER", "DURABLE"), r.is("STREAM", "LEADER"), r.is("STREAM", "PEER"), r.is("CONSUMER", "LEADER"):
		at = 3
	case r.is("STREAM"), r.is("CONSUMER"), r.is("DIRECT"):
		at = 2
	}
	if at < 0 || at >= len(r.tokens) {
		return ""
	}
	return r.tokens[at]
}

func (r *request) is(tokens ...string) bool {
	return len(r.tokens) >= len(tokens) && slices.Equal(r.tokens[:len(tokens)], tokens)
}

// mayRead reports whether a caller may ask about a stream at all.
func (r *request) mayRead(stream string) bool {
	return stream != "" && !r.hidden(stream) && (r.dev || r.access.All(stream) || r.access.Some(stream))
}

// hidden reports whether clients without credentials must not see a stream.
func (r *request) hidden(stream string) bool { return r.dev && stream == keyStream }

// forbidden refuses alike what there is and what there is not.
func (r *request) forbidden(what string) {
	missing, text := "", "forbidden: there is no grant to read "+what
	if r.gate.cfg.Missing != nil && what == r.stream() {
		missing = r.gate.cfg.Missing(what, strings.TrimPrefix(r.asked(), r.gate.cfg.Subjects.Root("")))
	}
	if missing != "" {
		text += fmt.Sprintf(": the missing grant is %q: ask the operator of the engine (engine auth grant)", missing)
	}
	r.refused(missing)
	r.refuse(403, text)
}

// notForClients refuses what only the engine may do.
func (r *request) notForClients() {
	r.refused("")
	r.refuse(403, "forbidden: the streams belong to the engine; clients can read them")
}

// refused reports a refusal by the missing grant; empty = none would do.
func (r *request) refused(missing string) {
	if r.gate.cfg.Refused == nil || r.caller == nil {
		return
	}
	if stream := r.stream(); missing == "" && Reserved(stream) {
		missing = "watch stream " + stream
	}
	r.gate.cfg.Refused(r.caller, cmp.Or(missing, "watch stream other")) // the name of another is the client's
}

// asked is the first subject that a request names; empty = none.
func (r *request) asked() string {
	switch {
	case r.is("DIRECT", "GET") && len(r.tokens) > 3:
		return strings.Join(r.tokens[3:], ".")
	case r.is("CONSUMER", "CREATE") && len(r.tokens) > 4:
		return strings.Join(r.tokens[4:], ".")
	}
	var body struct {
		getRequest
		Filter string         `json:"subjects_filter"`
		Config consumerConfig `json:"config"`
	}
	if json.Unmarshal(r.msg.Data, &body) != nil {
		return ""
	}
	all := slices.Concat([]string{body.Last, body.Next, body.Filter, body.Config.FilterSubject}, body.MultiLast, body.Config.FilterSubjects)
	return cmp.Or(all...)
}

func (r *request) responseType() string {
	kind, verb := strings.ToLower(r.tokens[0]), ""
	for _, token := range r.tokens[1:min(3, len(r.tokens))] {
		if token == strings.ToUpper(token) && slices.Contains([]string{"CREATE", "UPDATE", "DELETE", "PURGE", "INFO", "NAMES", "LIST", "MSG", "GET", "RESTORE", "SNAPSHOT"}, token) {
			verb += "_" + strings.ToLower(token)
		}
	}
	return kind + verb + "_response"
}

func (r *request) unavailable(err error) {
	if errors.Is(err, nats.ErrNoResponders) { // there is no such stream, or it has no direct get
		if r.is("DIRECT") {
			r.respond(&nats.Msg{Header: nats.Header{"Status": {"503"}}})
			return
		}
	}
	r.refuse(503, "JetStream does not answer now: retry later")
}

func (r *request) json(body string) { r.respond(&nats.Msg{Data: []byte(body)}) }

// refuse answers as JetStream answers an error.
func (r *request) refuse(code int, text string) {
	if r.is("DIRECT") || r.is("CONSUMER", "MSG", "NEXT") {
		r.respond(&nats.Msg{Header: nats.Header{"Status": {fmt.Sprint(code)}, "Description": {text}}})
		return
	}
	body, err := json.Marshal(apiError{Type: "io.nats.jetstream.api.v1." + r.responseType(), Error: &errorBody{Code: code, Description: text}})
	if err == nil {
		r.respond(&nats.Msg{Data: body})
	}
}

type apiError struct {
	Type  string     `json:"type"`
	Error *errorBody `json:"error,omitempty"`
}

type errorBody struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code,omitempty"`
	Description string `json:"description"`
}
