package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// target is how client commands find the server.
type target struct {
	Server        string        `help:"NATS server; default: the one that serve noted in the data directory, else NATS_URL." placeholder:"URL"`
	Data          string        `help:"Data directory of a serving engine." default:"./data" env:"TIDEMARK_DATA" placeholder:"DIR"`
	SubjectPrefix string        `help:"The engine's subject prefix; default: as noted." env:"TIDEMARK_SUBJECT_PREFIX" placeholder:"PREFIX"`
	Timeout       time.Duration `help:"How long to wait for an answer." default:"15s"`
}

// connect finds the server and connects to it as any client would.
func (t *target) connect() (*nats.Conn, error) {
	url := t.Server
	n, err := readNote(t.Data)
	switch {
	case url != "":
	case err == nil:
		url = n.NATS
		if t.SubjectPrefix == "" {
			t.SubjectPrefix = n.Prefix
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the note in %s cannot be read: %w", t.Data, err)
	case os.Getenv("NATS_URL") != "":
		url = os.Getenv("NATS_URL")
	default:
		return nil, fmt.Errorf("no engine is noted in %s and NATS_URL is not set: start one with 'engine serve', or name a --server", t.Data)
	}
	nc, err := natsio.Connect(url, "tidemark-cli", slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, fmt.Errorf("%w (is the engine running?)", err)
	}
	return nc, nil
}

// connectOperator connects with the engine's own rights, for what changes the
// journal itself: on an embedded server those are noted in its data directory.
func (t *target) connectOperator(ctx context.Context) (*nats.Conn, error) {
	nc, err := t.connect()
	if err != nil {
		return nil, err
	}
	s, _, err := askStatus(ctx, nc, t)
	if err != nil || s.NATS.Mode != "embedded" {
		return nc, err
	}
	defer nc.Close()
	o, err := readOperator(s.Data)
	if err != nil {
		return nil, fmt.Errorf("this changes the journal and needs the engine's own rights, which are noted in its data directory: %w", err)
	}
	return natsio.Connect(nc.ConnectedUrl(), "tidemark-operator", slog.New(slog.DiscardHandler), nats.UserInfo(o.User, o.Password))
}

func (t *target) subject(rest string) string {
	return natsio.NewSubjects(t.SubjectPrefix).Root(rest)
}

// refusal is an error answer of the engine.
type refusal struct {
	text string
	body []byte
}

func (r *refusal) Error() string { return r.text }

// ask sends a request and returns the answer's body, or a refusal.
func ask(ctx context.Context, nc *nats.Conn, timeout time.Duration, msg *nats.Msg) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	reply, err := nc.RequestMsgWithContext(ctx, msg)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, fmt.Errorf("nobody answers %s, no engine serves on %s: %w", msg.Subject, nc.ConnectedUrlRedacted(), err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", msg.Subject, err)
	}
	if code := reply.Header.Get("Nats-Service-Error-Code"); code != "" {
		return nil, &refusal{text: code + " " + reply.Header.Get("Nats-Service-Error"), body: reply.Data}
	}
	return reply.Data, nil
}

type sendCmd struct {
	target
	Subject string `arg:"" help:"For example commands.agent.a1.set."`
	Body    string `arg:"" optional:"" default:"{}" help:"JSON; - reads standard input."`
	ID      string `help:"Command id; default: the engine makes one." placeholder:"ID"`
}

func (c *sendCmd) Run(ctx context.Context, out *output) error {
	msg := nats.NewMsg(c.Subject)
	if c.ID != "" {
		msg.Header.Set(nats.MsgIdHdr, c.ID)
	}
	return request(ctx, &c.target, msg, c.Body, out)
}

type queryCmd struct {
	target
	pastFlags
	Subject string `arg:"" help:"For example queries.agent.a1.get."`
	Body    string `arg:"" optional:"" default:"{}" help:"JSON; - reads standard input."`
}

func (c *queryCmd) Run(ctx context.Context, out *output) error {
	return requestAsOf(ctx, &c.target, nats.NewMsg(c.Subject), c.Body, c.when(), out)
}

// request sends one message and prints the answer: a refusal's body too, so
// that programs can read it, with exit code 1.
func request(ctx context.Context, t *target, msg *nats.Msg, body string, out *output) error {
	msg.Data = []byte(body)
	if body == "-" {
		var err error
		if msg.Data, err = io.ReadAll(os.Stdin); err != nil {
			return err
		}
	}
	nc, err := t.connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	answer, err := ask(ctx, nc, t.Timeout, msg)
	var no *refusal
	if errors.As(err, &no) {
		fmt.Fprintln(out, string(no.body))
		return err
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, string(answer))
	return err
}

type statusCmd struct {
	target
	JSON bool `name:"json" help:"Machine output."`
}

func (c *statusCmd) Run(ctx context.Context, out *output) error {
	nc, err := c.connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	s, raw, err := askStatus(ctx, nc, &c.target)
	if err != nil {
		return err
	}
	if c.JSON {
		_, err = fmt.Fprintln(out, string(raw))
		return err
	}
	_, err = fmt.Fprint(out, s.text())
	return err
}

func askStatus(ctx context.Context, nc *nats.Conn, t *target) (s status, raw []byte, err error) {
	raw, err = ask(ctx, nc, t.Timeout, nats.NewMsg(t.subject("queries.engine.status")))
	if err == nil {
		err = json.Unmarshal(raw, &s)
	}
	return s, raw, err
}

// text is the status as people read it.
func (s *status) text() string {
	var b strings.Builder
	state := "ready"
	if !s.Ready {
		state = "NOT READY: " + strings.Join(s.Reasons, "; ")
	}
	fmt.Fprintf(&b, "Tidemark %s, up %s, %s\n", s.Version, (time.Duration(s.UptimeS) * time.Second).String(), state)
	fmt.Fprintf(&b, "  NATS        %-5s %s (%s)\n", s.NATS.State, s.NATS.URL, s.NATS.Mode)
	fmt.Fprintf(&b, "  Postgres    %-5s %s (%s) %s\n", s.Postgres.State, s.Postgres.URL, s.Postgres.Mode, s.Postgres.Reason)
	fmt.Fprintf(&b, "  durability  %s: %s\n", s.Durability, s.Detail)
	s.Topology.text(&b)
	fmt.Fprintf(&b, "  journal     %s, heads %v, %d replica(s)\n", s.Journal.Incarnation, s.Journal.Heads, s.Journal.Replicas)
	fmt.Fprintf(&b, "  %-10s %9s %12s %12s %10s %8s  %s\n", "view", "partition", "position", "head", "lag", "lag s", "state")
	for _, v := range s.Views {
		fmt.Fprintf(&b, "  %-10s %9d %12d %12d %10d %8.1f  %s %s\n",
			v.Name, v.Partition, v.Position, v.Head, v.LagEvents, v.LagSeconds, v.State, v.Reason)
	}
	if a := s.Audit; a != nil {
		fmt.Fprintf(&b, "  audit       %s %s, %d checked, %d differences %s\n", a.State, a.Reason, a.Checked, a.Differences, a.Last)
	}
	return b.String()
}
