package gate

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
)

// consumerConfig is what of a consumer's configuration a client may choose.
type consumerConfig struct {
	Name              string     `json:"name,omitempty"`
	Durable           string     `json:"durable_name,omitempty"`
	Description       string     `json:"description,omitempty"`
	DeliverPolicy     string     `json:"deliver_policy,omitempty"`
	StartSeq          uint64     `json:"opt_start_seq,omitempty"`
	StartTime         *time.Time `json:"opt_start_time,omitempty"`
	AckPolicy         string     `json:"ack_policy"`
	AckWait           int64      `json:"ack_wait,omitempty"`
	MaxDeliver        int        `json:"max_deliver,omitempty"`
	BackOff           []int64    `json:"backoff,omitempty"`
	FilterSubject     string     `json:"filter_subject,omitempty"`
	FilterSubjects    []string   `json:"filter_subjects,omitempty"`
	ReplayPolicy      string     `json:"replay_policy,omitempty"`
	RateLimit         uint64     `json:"rate_limit_bps,omitempty"`
	SampleFrequency   string     `json:"sample_freq,omitempty"`
	MaxWaiting        int        `json:"max_waiting,omitempty"`
	MaxAckPending     int        `json:"max_ack_pending,omitempty"`
	FlowControl       bool       `json:"flow_control,omitempty"`
	Heartbeat         int64      `json:"idle_heartbeat,omitempty"`
	HeadersOnly       bool       `json:"headers_only,omitempty"`
	MaxBatch          int        `json:"max_batch,omitempty"`
	MaxExpires        int64      `json:"max_expires,omitempty"`
	MaxBytes          int        `json:"max_bytes,omitempty"`
	InactiveThreshold int64      `json:"inactive_threshold,omitempty"`
	Replicas          int        `json:"num_replicas"`
	Memory            bool       `json:"mem_storage,omitempty"`
	DeliverSubject    string     `json:"deliver_subject,omitempty"`
	DeliverGroup      string     `json:"deliver_group,omitempty"`

	Metadata map[string]string `json:"metadata,omitempty"`
}

type createRequest struct {
	Stream string         `json:"stream_name"`
	Config consumerConfig `json:"config"`
	Action string         `json:"action,omitempty"`
}

var consumerForm = regexp.MustCompile(`^[A-Za-z0-9_=-]{1,128}$`)

// readCreate reads a request for a consumer, whose name and filter may stand in its
// subject too. A refused request is answered.
func readCreate(r *request, stream string) (req createRequest, ok bool) {
	if err := json.Unmarshal(r.msg.Data, &req); err != nil {
		r.refuse(400, "the request is not JSON of a consumer's configuration: "+err.Error())
		return req, false
	}
	c := &req.Config
	at := 2
	if r.is("CONSUMER", "DURABLE") {
		at = 3
	}
	if len(r.tokens) > at+1 {
		if given := c.Name; given != "" && given != r.tokens[at+1] {
			r.refuse(400, "the consumer's name in the subject is not the one in the body")
			return req, false
		}
		c.Name = r.tokens[at+1]
	}
	if c.Name == "" {
		c.Name = c.Durable
	}
	if len(r.tokens) > at+2 {
		if filter := strings.Join(r.tokens[at+2:], "."); filter != c.FilterSubject {
			r.refuse(400, "the consumer's filter in the subject is not the one in the body")
			return req, false
		}
	}
	if len(c.FilterSubjects) > maxFilters {
		r.refuse(400, fmt.Sprintf("a consumer has at most %d filters, this has %d", maxFilters, len(c.FilterSubjects)))
		return req, false
	}
	if c.Name != "" && !consumerForm.MatchString(c.Name) || req.Stream != stream {
		r.refuse(400, "a consumer's name consists of A-Z a-z 0-9 _ = -, and the stream's name must be the one in the subject")
		return req, false
	}
	return req, true
}

// create makes a consumer for a client: it holds nothing back, ends by itself and
// shows only what the client may read.
func (g *Gate) create(r *request, stream string) {
	req, ok := readCreate(r, stream)
	if !ok {
		return
	}
	c := &req.Config
	if stream == auth.TaskStream && (c.Name == auth.TaskConsumer || c.Durable == auth.TaskConsumer) {
		g.taskConsumer(r)
		return
	}
	if !g.shows(r.access, stream, c) {
		r.forbidden(stream)
		return
	}
	deliver := c.DeliverSubject
	if deliver != "" {
		rest, ok := strings.CutPrefix(deliver, inboxRoot)
		if !ok || strings.ContainsAny(rest, "*> ") || rest == "" {
			r.refuse(400, "the delivery subject of a consumer on a stream of the engine must begin with "+inboxRoot)
			return
		}
		c.DeliverSubject = g.cfg.Accounts.Root(r.caller.Account) + "inbox." + rest
	}
	if deliver == "" && !r.dev && !slices.Contains(g.cfg.Free, stream) { // no account imports its pulls: they would never be answered
		r.refuse(400, "credentials do not pull from "+stream+": only the engine's own rights do, which the engine's commands have on its machine. Read its messages with STREAM.MSG.GET")
		return
	}
	if c.Name == "" {
		c.Name = nuid.Next()
	}
	c.Name = g.ownName(r, stream, c.Name)
	switch owner, found, err := g.owner(stream, c.Name); {
	case err != nil:
		r.unavailable(err)
		return
	case found && owner != r.caller.Account && r.dev && owner == "": // one that the topology made for clients
		g.relay(r, "CONSUMER.INFO."+stream+"."+c.Name, nil)
		return
	case found && owner != r.caller.Account:
		r.forbidden("the consumer")
		return
	}
	g.restrict(r, stream, c)
	if !g.quota.add(r.caller.Account, stream+" "+c.Name, g.owned) {
		r.refuse(429, fmt.Sprintf("this account has %d consumers, as many as it may have", maxConsumers))
		return
	}
	body, err := json.Marshal(req)
	if err != nil {
		r.unavailable(err)
		return
	}
	api := "CONSUMER.CREATE." + stream + "." + c.Name
	if c.FilterSubject != "" {
		api += "." + c.FilterSubject
	}
	answer, err := g.ask(api, body)
	if err != nil {
		r.unavailable(err)
		return
	}
	r.respond(&nats.Msg{Data: g.foreign(r, answer.Data)})
}

// shows reports whether an access covers all that a consumer shows.
func (g *Gate) shows(access Access, stream string, c *consumerConfig) bool {
	filters := slices.Clone(c.FilterSubjects)
	if c.FilterSubject != "" {
		filters = append(filters, c.FilterSubject)
	}
	return access.All(stream) || len(filters) > 0 && g.covers(access, stream, filters)
}

// restrict takes away what could hold back the engine or outlive the client.
func (g *Gate) restrict(r *request, stream string, c *consumerConfig) {
	c.Metadata = map[string]string{ownerMeta: r.caller.Account}
	c.Replicas, c.SampleFrequency = 1, ""
	if r.dev && slices.Contains(g.cfg.Free, stream) {
		if c.AckPolicy == "" {
			c.AckPolicy = "none"
		}
		return
	}
	c.AckPolicy, c.AckWait, c.BackOff, c.MaxDeliver, c.MaxAckPending = "none", 0, nil, 0, 0
	c.Durable, c.DeliverGroup, c.Memory, c.MaxWaiting = "", "", true, min(c.MaxWaiting, maxWaiting)
	if c.InactiveThreshold <= 0 || c.InactiveThreshold > int64(maxThreshold) {
		c.InactiveThreshold = int64(maxThreshold)
	}
}

// foreign shows an answer about a consumer as the client knows it.
func (g *Gate) foreign(r *request, body []byte) []byte {
	root := g.cfg.Accounts.Root(r.caller.Account) + "inbox."
	text := strings.ReplaceAll(string(body), `"deliver_subject":"`+root, `"deliver_subject":"`+inboxRoot)
	if !r.dev {
		text = strings.ReplaceAll(text, `"`+r.caller.Account+`"`, `"`+auth.TaskConsumer+`"`)
	}
	return []byte(text)
}
