package deployment

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/internal/certs"
)

// Target is the running engine that a client command talks to; its fields are
// the flags that every client command has.
type Target struct {
	Server        string        `help:"NATS server; default: the address in the data directory, else NATS_URL." placeholder:"URL"`
	Data          string        `help:"Data directory of a serving engine." default:"./data" env:"TIDEMARK_DATA" placeholder:"DIR"`
	SubjectPrefix string        `help:"The engine's subject prefix; default: the one in the data directory." env:"TIDEMARK_SUBJECT_PREFIX" placeholder:"PREFIX"`
	Timeout       time.Duration `help:"How long to wait for an answer." default:"15s"`
	Access        natsio.Access `embed:"" envprefix:"TIDEMARK_NATS_"`
	JSON          bool          `name:"json" help:"Machine output: JSON, and errors as JSON on standard error."`

	tls    *tls.Config // of the engine that serves Data, see Find; nil = by the flags
	shared bool        // clients share the engine's account
	actor  string      // see Actor
	asker  *nats.Conn  // asks the engine where the connection has the engine's own rights
}

// Validate refuses values that no command can work with.
func (t *Target) Validate() error {
	if t.Timeout <= 0 {
		return errors.New("--timeout must be longer than 0")
	}
	if err := CheckNATSURLs("--server", t.Server); err != nil {
		return err
	}
	if _, err := t.Access.Options(); err != nil {
		return err
	}
	return natsio.CheckPrefix(t.SubjectPrefix)
}

// ErrUnreachable means that no engine answered.
var ErrUnreachable = errors.New("no engine answers")

// Find finds the server. It fills in the subject prefix where none is given, and
// trusts the certificate of the engine that serves the data directory.
func (t *Target) Find() (url string, err error) {
	if t.Server != "" {
		return t.Server, nil
	}
	n, err := ReadNote(t.Data)
	switch {
	case err == nil:
		if t.SubjectPrefix == "" {
			t.SubjectPrefix = n.Prefix
		}
		t.shared = n.Shared
		if n.Fingerprint != "" && t.Access.TLSCA == "" {
			o, err := ReadOperator(t.Data)
			if err != nil && !errors.Is(err, fs.ErrPermission) {
				return "", fmt.Errorf("read the client certificate in %s: %w", t.Data, err)
			}
			if t.tls, err = certs.Pinned(n.Fingerprint, o.TLSCert, o.TLSKey); err != nil {
				return "", err
			}
		}
		return n.address(t.Data), nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("read the engine's address in %s: %w", t.Data, err)
	case os.Getenv("NATS_URL") != "":
		return os.Getenv("NATS_URL"), nil
	}
	return "", fmt.Errorf("%w: %s has no engine.json and NATS_URL is not set: start an engine with 'engine serve', or name a --server", ErrUnreachable, t.Data)
}

// options are how to authenticate.
func (t *Target) options() (opts []nats.Option, err error) {
	if t.tls != nil {
		opts = append(opts, nats.Secure(t.tls))
	}
	more, err := t.Access.Options()
	return append(opts, more...), err
}

// Connect finds the server and connects to it as any client does. On the engine's
// own machine it has the credentials of the operator, which are in the data
// directory.
func (t *Target) Connect() (*nats.Conn, error) {
	url, err := t.Find()
	if err != nil {
		return nil, err
	}
	opts, err := t.options()
	if err != nil {
		return nil, err
	}
	if file := filepath.Join(embedded.KeysDir(t.Data), "operator.creds"); t.Server == "" && t.Access.None() && !t.shared && readable(file) {
		operator, err := natsio.Access{Creds: file}.Options()
		if err != nil {
			return nil, err
		}
		opts = append(opts, operator...)
	}
	nc, err := natsio.Connect(url, "tidemark-cli", slog.New(slog.DiscardHandler), opts...)
	if err != nil {
		return nil, unreachable(err)
	}
	return nc, nil
}

// unreachable is an ErrUnreachable that says why in its own words, and what to do.
func unreachable(err error) error {
	advice := "is the engine running?"
	switch {
	case natsio.RefusesClient(err):
		advice = "--creds FILE gives those of a principal, which 'engine auth add' makes"
	case strings.HasSuffix(err.Error(), "?)"): // the server answers, and the error says what it may lack
		return &notReached{err}
	}
	return &notReached{fmt.Errorf("%w (%s)", err, advice)}
}

type notReached struct{ error }

func (n *notReached) Unwrap() error        { return n.error }
func (n *notReached) Is(target error) bool { return target == ErrUnreachable }

func readable(file string) bool {
	f, err := os.Open(file)
	return err == nil && f.Close() == nil
}

// own connects with the engine's own rights, in place of nc. Status still asks as
// a client.
func (t *Target) own(nc *nats.Conn, data string) (*nats.Conn, error) {
	url := nc.ConnectedUrl()
	o, err := ReadOperator(data)
	var opts []nats.Option
	switch {
	case err != nil || o.Creds == "" && o.URL == "":
		nc.Close()
		return nil, fmt.Errorf("%w: %w", errNoRights, cmp.Or(err, fs.ErrNotExist))
	case o.Creds != "":
		opts = append(opts, nats.UserCredentialBytes([]byte(o.Creds)))
	default:
		url = o.URL
		if opts, err = o.Access.Options(); err != nil {
			nc.Close()
			return nil, err
		}
	}
	opts = append(opts, nats.ClosedHandler(func(*nats.Conn) { nc.Close() }))
	if t.tls != nil {
		opts = append(opts, nats.Secure(t.tls))
	}
	own, err := natsio.Connect(url, "tidemark-operator", slog.New(slog.DiscardHandler), opts...)
	if err != nil {
		nc.Close()
		return nil, err
	}
	t.asker = nc
	return own, nil
}

// ConnectStores connects for commands that read the streams themselves: with the
// engine's own rights where the data directory has them, else as any client.
func (t *Target) ConnectStores() (*nats.Conn, error) {
	nc, err := t.Connect()
	if err != nil || t.Remote() {
		return nc, err
	}
	if o, err := ReadOperator(t.Data); err == nil && (o.Creds != "" || o.URL != "" && !t.shared) {
		return t.own(nc, t.Data)
	}
	return nc, nil
}

// Remote reports whether the target is a named server, or credentials are given: the
// command is then a client without the engine's own rights.
func (t *Target) Remote() bool { return t.Server != "" || !t.Access.None() }

// Asker is the connection for commands and queries: nc, or the client's connection
// beside one with the engine's own rights.
func (t *Target) Asker(nc *nats.Conn) *nats.Conn {
	if t.asker != nil {
		return t.asker
	}
	return nc
}

// Subject is a subject with the engine's prefix.
func (t *Target) Subject(rest string) string { return t.Subjects().Root(rest) }

// Subjects are the engine's subjects.
func (t *Target) Subjects() natsio.Subjects { return natsio.NewSubjects(t.SubjectPrefix) }

// Status asks the engine for its status; raw is the answer as it came.
func (t *Target) Status(ctx context.Context, nc *nats.Conn) (s Status, raw []byte, err error) {
	raw, err = Ask(ctx, t.Asker(nc), t.Timeout, nats.NewMsg(t.Subject("queries.engine.status")))
	if err == nil {
		err = json.Unmarshal(raw, &s)
	}
	return s, raw, err
}

// Refusal is an error that the engine answered.
type Refusal struct {
	text string
	Body []byte // the answer
}

func (r *Refusal) Error() string { return r.text }

// With is the refusal with more text for people.
func (r *Refusal) With(more string) *Refusal { return &Refusal{r.text + more, r.Body} }

// Late means that a request had no answer in time: what it asked for may be done, or not.
type Late struct {
	Subject string
	After   time.Duration
}

func (l *Late) Error() string {
	return fmt.Sprintf("%s was not answered within %s", l.Subject, l.After)
}

// Unwrap makes it a context.DeadlineExceeded.
func (l *Late) Unwrap() error { return context.DeadlineExceeded }

// Ask sends a request and returns the body of the answer, or a *Refusal.
func Ask(ctx context.Context, nc *nats.Conn, timeout time.Duration, msg *nats.Msg) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	reply, err := nc.RequestMsgWithContext(ctx, msg)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, fmt.Errorf("%w to %s on %s: it does not run, or has another --subject-prefix", ErrUnreachable, msg.Subject, nc.ConnectedUrlRedacted())
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout):
		return nil, &notReached{&Late{msg.Subject, timeout}}
	case err != nil:
		return nil, fmt.Errorf("%s: %w", msg.Subject, err)
	}
	if code := reply.Header.Get("Nats-Service-Error-Code"); code != "" {
		return nil, &Refusal{text: code + " " + reply.Header.Get("Nats-Service-Error"), Body: reply.Data}
	}
	return reply.Data, nil
}
