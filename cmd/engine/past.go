package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// pastFlags name an instant in the past.
type pastFlags struct {
	AtRevision string `help:"As of this revision of the journal." placeholder:"REV"`
	AtTime     string `help:"As of this time (RFC 3339)." placeholder:"TIME"`
}

// Validate refuses what no query would take, before anything is asked.
func (f *pastFlags) Validate() error {
	if f.AtRevision != "" && f.AtTime != "" {
		return errors.New("--at-revision and --at-time exclude each other")
	}
	if _, err := parseInstant(f.AtRevision); f.AtRevision != "" && (err != nil || strings.Contains(f.AtRevision, ":")) {
		return fmt.Errorf("--at-revision: %q is no revision", f.AtRevision)
	}
	if p, err := parseInstant(f.AtTime); f.AtTime != "" && (err != nil || p.name == "at_revision") {
		return fmt.Errorf("--at-time: %q is not an RFC 3339 time", f.AtTime)
	}
	return nil
}

func (f *pastFlags) when() instant {
	p, _ := parseInstant(f.AtRevision + f.AtTime) // validated
	return p
}

// instant is a revision or a time, as queries take them; without a name it is
// the present.
type instant struct {
	name     string // "at_revision" or "at_time"
	value    json.RawMessage
	revision uint64
	at       time.Time
}

func parseInstant(text string) (p instant, err error) {
	if text == "" {
		return p, nil
	}
	if p.revision, err = strconv.ParseUint(text, 10, 64); err == nil {
		p.name, p.value = "at_revision", json.RawMessage(strconv.FormatUint(p.revision, 10))
		return p, nil
	}
	if err = p.at.UnmarshalText([]byte(text)); err != nil {
		return p, fmt.Errorf("%q is neither a revision nor an RFC 3339 time", text)
	}
	p.name = "at_time"
	p.value, err = json.Marshal(text)
	return p, err
}

// includes tells whether an event was there already.
func (p *instant) includes(revision uint64, recorded time.Time) bool {
	switch p.name {
	case "":
		return true
	case "at_revision":
		return revision <= p.revision
	}
	return !recorded.After(p.at)
}

func (p *instant) String() string {
	if p.name == "" {
		return "now"
	}
	return strings.Trim(string(p.value), `"`)
}

// into puts the instant into a query's body.
func (p *instant) into(body string) (string, error) {
	if p.name == "" {
		return body, nil
	}
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(body), &members); err != nil {
		return "", fmt.Errorf("the body must be a JSON object: %w", err)
	}
	for _, name := range []string{"at_revision", "at_time"} {
		if _, twice := members[name]; twice {
			return "", fmt.Errorf("the body has %s already", name)
		}
	}
	members[p.name] = p.value
	b, err := encodeJSON(members)
	return string(b), err
}

// encodeJSON is v as JSON, with < and > as they are.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// requestAsOf is request with an instant in the body.
func requestAsOf(ctx context.Context, t *target, msg *nats.Msg, body string, p instant, out *output) error {
	if body == "-" && p.name != "" {
		b, err := io.ReadAll(os.Stdin)
		if err != nil {
			return err
		}
		body = string(b)
	}
	body, err := p.into(body)
	if err != nil {
		return err
	}
	return request(ctx, t, msg, body, out)
}

// forkCmd starts an agent from another one's past.
type forkCmd struct {
	target
	pastFlags
	From   string `arg:"" help:"agent.<id>: whose past."`
	As     string `required:"" help:"The new agent's id." placeholder:"ID"`
	Reason string `help:"Kept in the event that names the origin." placeholder:"TEXT"`
	ID     string `help:"Command id; default: the engine makes one. Send a fork that broke off again with the same." placeholder:"ID"`
}

func (c *forkCmd) Run(ctx context.Context, out *output) error {
	kind, id, _ := strings.Cut(c.From, ".")
	if kind != "agent" || id == "" {
		return fmt.Errorf("%q is not agent.<id>: only agents are forked", c.From)
	}
	body, err := encodeJSON(struct {
		From   string `json:"from"`
		Reason string `json:"reason,omitempty"`
	}{id, c.Reason})
	if err != nil {
		return err
	}
	msg := nats.NewMsg("") // its subject needs the prefix, which the connection finds out
	if c.ID != "" {
		msg.Header.Set(nats.MsgIdHdr, c.ID)
	}
	nc, err := c.connect()
	if err != nil {
		return err
	}
	nc.Close()
	msg.Subject = c.subject("commands.agent." + c.As + ".fork")
	return requestAsOf(ctx, &c.target, msg, string(body), c.when(), out)
}
