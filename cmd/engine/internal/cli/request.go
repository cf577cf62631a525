package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
)

// Send sends a command.
type Send struct {
	deployment.Target
	Subject string  `arg:"" help:"commands.<aggregate>.<id>.<verb>, or without commands.: agent.a1.set answers with a receipt; enqueue.<aggregate>.<id>.<verb> is executed later, survives restarts and answers with the command id."`
	Body    string  `arg:"" optional:"" default:"{}" help:"JSON; - reads standard input."`
	ID      *string `help:"Command id; default: the engine makes one." placeholder:"ID"`
}

// Validate refuses what is not the subject of a command.
func (c *Send) Validate() error {
	c.Subject = withRoot(c.Subject, "commands")
	return checkSubject(c.Subject, "query", "commands", "enqueue")
}

// Run implements the command.
func (c *Send) Run(ctx context.Context, out *Output) error {
	root, err := rootOf(&c.Target, &c.Subject, "query", "commands", "enqueue")
	if err != nil {
		return err
	}
	msg := nats.NewMsg(c.Subject)
	setID(msg, c.ID)
	if root == "enqueue" {
		return enqueue(ctx, &c.Target, msg, c.Body, out)
	}
	return request(ctx, &c.Target, msg, c.Body, instant{}, out)
}

// setID gives a message the command id of the flag --id. An empty one is sent too, and the engine
// refuses it: the command must not take effect under an id that its sender does not know.
func setID(msg *nats.Msg, id *string) {
	if id != nil {
		msg.Header.Set(nats.MsgIdHdr, *id)
	}
}

// Query asks a query.
type Query struct {
	deployment.Target
	InstantFlags
	Subject string `arg:"" help:"queries.<noun>.<id>.<query>, or without queries.: agent.a1.get."`
	Body    string `arg:"" optional:"" default:"{}" help:"JSON; - reads standard input."`
}

// Validate refuses what is not the subject of a query: a query changes nothing.
func (c *Query) Validate() error {
	c.Subject = withRoot(c.Subject, "queries")
	return checkSubject(c.Subject, "send", "queries")
}

// withRoot puts the root before a subject that begins with a declared aggregate.
func withRoot(subject, root string) string {
	tokens := strings.Split(subject, ".")
	name := tokens[0]
	if len(tokens) > 1 {
		name += "." + tokens[len(tokens)-1]
	}
	_, whole := requestsOf(root)[subject] // agents.list, tasks.next, batch
	_, one := requestsOf(root)[name]
	if whole || len(tokens) == 3 && (one || slices.Contains(nouns(root), tokens[0])) {
		return root + "." + subject
	}
	return subject
}

// Run implements the command.
func (c *Query) Run(ctx context.Context, out *Output) error {
	if _, err := rootOf(&c.Target, &c.Subject, "send", "queries"); err != nil {
		return err
	}
	return request(ctx, &c.Target, nats.NewMsg(c.Subject), c.Body, c.when(), out)
}

// checkSubject refuses what is not the subject of a request under any prefix.
// other is the subcommand for the other requests.
func checkSubject(subject, other string, roots ...string) error {
	tokens := strings.Split(subject, ".")
	known := false
	for i, token := range tokens {
		if token == "" || strings.ContainsAny(token, "*>") || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || unprintable(r) }) {
			return fmt.Errorf("%q is not the subject of a request: its tokens are joined by single dots, without spaces and wildcards", subject)
		}
		known = known || i < len(tokens)-1 && slices.Contains(roots, token)
	}
	if !known {
		first := roots[:1]
		near := nearest(tokens[0], append(nouns(first[0]), roots...))
		if slices.Contains([]string{"commands", "enqueue", "queries"}, tokens[0]) { // of the other subcommand, not mistyped
			near = nil
		}
		if slices.Contains(nouns(first[0]), tokens[0]) {
			return fmt.Errorf("%q is not a whole subject: it is <aggregate>.<id>.<verb>, such as %s", subject, example[first[0]])
		}
		return fmt.Errorf("%q does not begin with %s., or an aggregate ('engine %s' is for other requests)%s", subject, strings.Join(roots, ". or "), other, didYouMean(near))
	}
	return nil
}

// example is a request of a root, without it.
var example = map[string]string{"commands": "agent.a1.set", "queries": "agent.a1.get, or agents.list"}

// rootOf is the root of a request's subject, which is one of roots. It puts the
// engine's prefix before a subject that has none.
func rootOf(t *deployment.Target, subject *string, other string, roots ...string) (string, error) {
	if _, err := t.Find(); err != nil {
		return "", err
	}
	root, _, _ := strings.Cut(*subject, ".")
	if prefix := t.Subject(""); strings.HasPrefix(*subject, prefix) {
		root, _, _ = strings.Cut((*subject)[len(prefix):], ".")
	} else if slices.Contains(roots, root) {
		*subject = prefix + *subject
	}
	if t.SubjectPrefix == "" && !slices.Contains([]string{"commands", "enqueue", "queries"}, root) { // a prefix that is not known here
		for _, token := range strings.Split(*subject, ".") {
			if slices.Contains(roots, token) {
				return token, nil
			}
		}
	}
	if !slices.Contains(roots, root) {
		return "", usagef("%q does not begin with %s.: use 'engine %s' for other requests", *subject, strings.Join(roots, ". or "), other)
	}
	return root, nil
}

// readBody is the body of a request; - is standard input.
func readBody(text string) ([]byte, error) {
	if text != "-" {
		return []byte(text), nil
	}
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, fmt.Errorf("read the body from standard input: %w", err)
	}
	return body, nil
}

// request sends a message with a body, to which it adds the instant, and prints
// the answer.
func request(ctx context.Context, t *deployment.Target, msg *nats.Msg, body string, at instant, out *Output) error {
	var err error
	if msg.Data, err = readBody(body); err != nil {
		return err
	}
	if msg.Data, err = at.into(msg.Data); err != nil {
		return err
	}
	nc, err := t.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	answer, err := deployment.Ask(ctx, nc, t.Timeout+askedWait(msg.Data), msg)
	var no *deployment.Refusal
	if errors.As(err, &no) {
		root := "commands"
		if strings.Contains(msg.Subject, "queries.") {
			root = "queries"
		}
		return no.With(suggestion(root, msg.Subject, no.Body))
	}
	if err != nil {
		return unknown(err, msg)
	}
	if err := out.Document(answer); err != nil || !strings.HasSuffix(msg.Subject, "commands.batch") {
		return err
	}
	return refusedIn(answer)
}

// refusedIn is ErrFailed for the answer to a batch in which a command was refused.
func refusedIn(answer []byte) error {
	var batch struct {
		Results []struct {
			Error json.RawMessage `json:"error"`
		} `json:"results"`
	}
	if err := json.Unmarshal(answer, &batch); err != nil {
		return fmt.Errorf("read the results of the batch: %w", err)
	}
	for _, result := range batch.Results {
		if result.Error != nil {
			return ErrFailed
		}
	}
	return nil
}

// unknown adds to the error of a command without an answer what became of it.
func unknown(err error, msg *nats.Msg) error {
	late := new(deployment.Late)
	switch id := msg.Header.Get(nats.MsgIdHdr); {
	case !errors.As(err, &late) || strings.Contains(msg.Subject, "queries."):
		return err
	case id != "":
		return fmt.Errorf("%w: it may have taken effect; send it again with --id %s, then it takes effect once", err, id)
	}
	return fmt.Errorf("%w: it may have taken effect; with --id ID it could be sent again and take effect once", err)
}

// maxWait is the longest time that a request can ask the engine to wait.
const maxWait = time.Minute

// askedWait is how long a body asks the engine to wait, besides what it takes to answer.
func askedWait(body []byte) time.Duration {
	var in struct {
		WaitMS int64 `json:"wait_ms"`
	}
	if json.Unmarshal(body, &in) != nil || in.WaitMS < 0 || in.WaitMS > maxWait.Milliseconds() {
		return 0 // the engine refuses it
	}
	return time.Duration(in.WaitMS) * time.Millisecond
}

// enqueue publishes a command for the durable queue, and prints its id.
func enqueue(ctx context.Context, t *deployment.Target, msg *nats.Msg, body string, out *Output) (err error) {
	if msg.Data, err = readBody(body); err != nil {
		return err
	}
	nc, err := t.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	answer, err := deployment.Ask(ctx, nc, t.Timeout, msg)
	if err != nil {
		return unknown(err, msg)
	}
	var ack struct {
		CommandID string `json:"command_id"`
		Stream    string `json:"stream"`
		Sequence  uint64 `json:"seq"`
		Duplicate bool   `json:"duplicate,omitempty"`
		Error     *struct {
			Description string `json:"description"`
		} `json:"error,omitempty"`
	}
	switch err := json.Unmarshal(answer, &ack); {
	case err != nil:
		return fmt.Errorf("the acknowledgement of %s: %w", msg.Subject, err)
	case ack.Error != nil:
		return fmt.Errorf("the queue refused the command: %s", ack.Error.Description)
	}
	if ack.CommandID = msg.Header.Get(nats.MsgIdHdr); ack.CommandID == "" {
		ack.CommandID = fmt.Sprintf("q-%d", ack.Sequence) // contract, section 2
	}
	return out.JSON(ack)
}
