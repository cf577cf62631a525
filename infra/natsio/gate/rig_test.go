package gate_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/gate"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

func TestMain(m *testing.M) { harness.Main(m) }

// own covers what is of one agent.
type own struct{ agent string }

func (own) All(string) bool         { return false }
func (own) Some(stream string) bool { return strings.HasSuffix(stream, "AGENT_STATE") }
func (o own) Covers(_, subject string) bool {
	for _, root := range []string{"$KV.AGENT_STATE.", "agents.state."} {
		if rest, ok := strings.CutPrefix(subject, root); ok && (rest == o.agent || strings.HasPrefix(rest, o.agent+".")) {
			return true
		}
	}
	return false
}

// rig is a server with a bucket and a feed of two agents, and two principals: bob
// may read bob's, carol everything.
type rig struct {
	engine     jetstream.JetStream
	bob, carol *nats.Conn
	account    string // of bob
	gate       *gate.Gate
	authority  *auth.Authority
	rights     atomic.Value // map[string]gate.Access by principal, in place of the first ones
}

func newRig(t testing.TB, change ...func(*gate.Config, *embedded.Server)) *rig {
	t.Helper()
	s, err := embedded.Start(embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", Auth: true, ReadRaw: auth.Streams, Log: harness.Log(t)})
	harness.Must(t, err)
	t.Cleanup(s.Stop)
	nc := support.Engine(t, s)
	r := &rig{authority: s.Authority()}
	cfg := gate.Config{Engine: nc, Subjects: natsio.NewSubjects(""), Accounts: s.Authority(), Free: auth.Streams, Log: harness.Log(t),
		Access: func(c *identity.Caller) gate.Access {
			if now, ok := r.rights.Load().(map[string]gate.Access); ok {
				return now[c.Principal]
			}
			if c.Principal == "carol" {
				return gate.Everything{}
			}
			return own{c.Principal}
		}}
	for _, do := range change {
		do(&cfg, s)
	}
	g, err := gate.Start(cfg)
	harness.Must(t, err)
	t.Cleanup(g.Stop)
	r.engine, r.gate = support.JetStream(t, nc), g
	kv, err := r.engine.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "AGENT_STATE", History: 5})
	harness.Must(t, err)
	_, err = r.engine.CreateStream(t.Context(), jetstream.StreamConfig{Name: "AGENT_STATE", Subjects: []string{"agents.state.>"}})
	harness.Must(t, err)
	for _, key := range []string{"alice.k", "bob.k", "alice.k", "bob.k"} {
		_, err := kv.PutString(t.Context(), key, "of "+key)
		harness.Must(t, err)
		_, err = r.engine.Publish(t.Context(), "agents.state."+key, []byte("of "+key))
		harness.Must(t, err)
	}
	connect := func(name string) *nats.Conn {
		creds, err := s.Authority().NewPrincipal(name)
		harness.Must(t, err)
		c, err := nats.Connect(s.URL(), nats.UserCredentialBytes(creds), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		harness.Must(t, err)
		t.Cleanup(c.Close)
		return c
	}
	r.bob, r.carol = connect("bob"), connect("carol")
	r.account, err = s.Authority().Account("bob")
	harness.Must(t, err)
	return r
}

// values reads a watch up to its present end.
func values(t *testing.T, w jetstream.KeyWatcher, err error) (got []string) {
	t.Helper()
	harness.Must(t, err)
	defer func() { harness.Must(t, w.Stop()) }()
	for {
		e := harness.Receive(t, "a value", w.Updates())
		if e == nil {
			return got
		}
		got = append(got, string(e.Value()))
	}
}
