package principals_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/principals"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

func TestMain(m *testing.M) { harness.Main(m) }

// follow opens a store that follows the others' changes.
func follow(t *testing.T, nc *nats.Conn) *principals.Store {
	t.Helper()
	s, err := principals.Open(t.Context(), nc, natsio.NewSubjects("acme"), nil, harness.Log(t))
	harness.Must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { s.Follow(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return s
}

var ofAlice = grants.Action{Kind: grants.Command, Aggregate: "agent", ID: "alice", Verb: "set", Key: "k"}

func allows(s *principals.Store, name string, a grants.Action) bool {
	ok, _ := s.Grants(name).Allows(a)
	return ok
}

func parse(t *testing.T, text string) grants.Grant {
	t.Helper()
	g, err := grants.Parse(text)
	harness.Must(t, err)
	return g
}

// TestChangesReachEveryEngine: two engines see a change by a third process at once, a
// later one finds it in the stream, and all of it is one chain.
func TestChangesReachEveryEngine(t *testing.T) {
	t.Parallel()
	nc := support.Engine(t, support.NATS(t))
	one, two := follow(t, nc), follow(t, nc)
	cli, err := principals.Open(t.Context(), nc, natsio.NewSubjects("acme"), nil, harness.Log(t))
	harness.Must(t, err)
	both := func(what string, is func(s *principals.Store) bool) {
		t.Helper()
		harness.Eventually(t, what, func() bool { return is(one) && is(two) })
	}

	if allows(one, "alice", ofAlice) {
		t.Error("an unknown principal has a grant")
	}
	_, err = cli.Add(t.Context(), "operator", principals.Principal{Name: "alice", Role: "agent", Agents: "alice"})
	harness.Must(t, err)
	both("the new principal", func(s *principals.Store) bool { return allows(s, "alice", ofAlice) })
	if _, err = cli.Add(t.Context(), "operator", principals.Principal{Name: "alice", Role: "admin", Agents: "*"}); !errors.Is(err, principals.ErrExists) {
		t.Errorf("a second time: %v", err)
	}

	bob := ofAlice
	bob.ID = "bob"
	for range 2 { // the second time changes nothing
		_, err = cli.Grant(t.Context(), "operator", "alice", parse(t, "command agent:bob set"))
		harness.Must(t, err)
	}
	both("the new grant", func(s *principals.Store) bool { return allows(s, "alice", bob) })
	_, err = cli.Rotated(t.Context(), "operator", "alice")
	harness.Must(t, err)
	_, err = cli.Revoke(t.Context(), "operator", "alice")
	harness.Must(t, err)
	both("the revocation", func(s *principals.Store) bool { return !allows(s, "alice", ofAlice) && !allows(s, "alice", bob) })
	for what, err := range map[string]error{
		"a grant":      errOf(cli.Grant(t.Context(), "operator", "alice", parse(t, "admin *"))),
		"a rotation":   errOf(cli.Rotated(t.Context(), "operator", "alice")),
		"a revocation": errOf(cli.Revoke(t.Context(), "operator", "nobody")),
	} {
		if !errors.Is(err, principals.ErrUnknown) {
			t.Errorf("%s of a principal that is not there: %v", what, err)
		}
	}
	later := follow(t, nc)
	if p, ok := later.Get("alice"); !ok || !p.Revoked || p.RotatedAt == nil || len(p.Grants) != 1 {
		t.Errorf("a later engine finds %+v, %t", p, ok)
	}
	if n, err := later.Verify(t.Context()); n != 4 || err != nil {
		t.Errorf("%d events, %v", n, err)
	}
	var types, actors []string
	harness.Must(t, later.Read(t.Context(), 0, func(e *principals.Entry) error {
		types, actors = append(types, e.Type), append(actors, e.Actor)
		return nil
	}))
	if got := strings.Join(types, " "); got != "principal.added principal.changed principal.rotated principal.revoked" || actors[0] != "operator" {
		t.Errorf("%s by %q", got, actors)
	}
}

func errOf(_ principals.Principal, err error) error { return err }

// TestOneChain: appends by several processes at once, of all kinds, are one chain; a
// changed event and a missing one are found.
func TestOneChain(t *testing.T) {
	t.Parallel()
	nc := support.Engine(t, support.NATS(t))
	s := follow(t, nc)
	refusals := principals.NewRefusals(s.Audit, harness.Log(t))
	var working sync.WaitGroup
	for i := range 4 {
		working.Go(func() {
			name := "p" + string(rune('a'+i))
			_, err := s.Add(t.Context(), "operator", principals.Principal{Name: name, Role: "worker", Agents: name})
			harness.Must(t, err)
			harness.Must(t, s.Act(t.Context(), "operator", "rebuild", map[string]string{"view": "hot"}))
		})
	}
	for i := range 5000 { // an attacker
		refusals.Add("mallory", "command agent:x"+string(rune('a'+i%26))+" set")
	}
	refusals.Add("", "query agent:x get")
	ctx, cancel := context.WithCancel(t.Context())
	working.Go(func() { refusals.Run(ctx) })
	harness.Eventually(t, "the refusals", func() bool {
		n := 0
		harness.Must(t, s.Read(t.Context(), 0, func(e *principals.Entry) error {
			if e.Type == principals.Refused {
				n++
			}
			return nil
		}))
		return n == 2
	})
	refusals.Add("mallory", "admin auth") // it waits until the end
	cancel()
	working.Wait()
	n, err := s.Verify(t.Context())
	if n != 11 || err != nil {
		t.Fatalf("%d events, %v", n, err)
	}
	totals := map[string]int{}
	var bodies [][]byte
	harness.Must(t, s.Read(t.Context(), 0, func(e *principals.Entry) error {
		bodies = append(bodies, e.Body)
		var d struct {
			Total   int
			Missing map[string]int
		}
		if e.Type == principals.Refused {
			harness.Must(t, json.Unmarshal(e.Data, &d))
			if totals[e.ID] += d.Total; len(d.Missing) > 20 {
				t.Errorf("an event names %d grants", len(d.Missing))
			}
		}
		return nil
	}))
	if totals["mallory"] != 5001 || totals["-"] != 1 {
		t.Errorf("refusals: %v", totals)
	}

	for what, change := range map[string]func(i int, body []byte) []byte{
		"a changed event": func(i int, b []byte) []byte {
			return []byte(strings.Replace(string(b), `"actor":"operator"`, `"actor":"alice"`, 1))
		},
		"a missing event":  func(i int, b []byte) []byte { return map[bool][]byte{false: b}[i == 3] },
		"the first is cut": func(i int, b []byte) []byte { return map[bool][]byte{false: b}[i == 0] },
	} {
		server := support.NATS(t)
		other := support.Engine(t, server)
		forged, err := principals.OpenAudit(t.Context(), other, natsio.NewSubjects("acme"))
		harness.Must(t, err)
		for i, body := range bodies {
			if body = change(i, body); body != nil {
				_, err := support.JetStream(t, other).Publish(t.Context(), "acme.audit.x", body)
				harness.Must(t, err)
			}
		}
		if _, err := forged.Verify(t.Context()); err == nil {
			t.Errorf("%s is not found", what)
		}
	}
}

// TestBadNames: what cannot be a principal is refused before anything is stored.
func TestBadNames(t *testing.T) {
	t.Parallel()
	nc := support.Engine(t, support.NATS(t))
	s := follow(t, nc)
	for _, p := range []principals.Principal{
		{Name: "", Role: "agent", Agents: "a"}, {Name: "a.b", Role: "agent", Agents: "a"}, {Name: "a*", Role: "agent", Agents: "a"},
		{Name: "dev", Role: "agent", Agents: "a"}, {Name: "operator", Role: "agent", Agents: "a"},
		{Name: "a", Role: "king", Agents: "a"}, {Name: "a", Role: "agent", Agents: ""}, {Name: "a", Role: "agent", Agents: "a.b"},
	} {
		if _, err := s.Add(t.Context(), "operator", p); err == nil {
			t.Errorf("%+v is accepted", p)
		}
	}
	stream, err := support.JetStream(t, nc).Stream(t.Context(), principals.StreamName)
	harness.Must(t, err)
	if n := stream.CachedInfo().State.Msgs; n != 0 || !stream.CachedInfo().Config.DenyDelete || stream.CachedInfo().Config.Retention != jetstream.LimitsPolicy {
		t.Errorf("%d events, %+v", n, stream.CachedInfo().Config)
	}
}
