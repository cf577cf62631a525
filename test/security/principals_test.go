package security

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// keys are the keys of an engine, as a command beside it sees them.
func keys(t *testing.T, e *harness.Engine) *auth.Authority {
	t.Helper()
	a, err := auth.Open(auth.Config{Dir: embedded.KeysDir(e.Data), ReadRaw: auth.Streams})
	harness.Must(t, err)
	return a
}

// connect opens a connection with credentials.
func connect(t *testing.T, e *harness.Engine, creds []byte, opts ...nats.Option) (*harness.Client, chan error) {
	t.Helper()
	return attacker(t, e, append(opts, nats.UserCredentialBytes(creds))...)
}

// TestPrincipals: bob tries to hear, read, change and answer what is alice's.
func TestPrincipals(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off", "--auth", "on"}})
	creds := map[string][]byte{}
	for _, name := range []string{"alice", "bob", "carol"} { // while the engine runs
		file := filepath.Join(t.TempDir(), name+".creds")
		if r := harness.Run(t, "auth", "add", name, "--role", map[string]string{"bob": "none"}[name]+map[string]string{"alice": "agent", "carol": "agent"}[name], "--agents", name+"*", "--out", file, "--data", e.Data); r.Code != 0 {
			t.Fatalf("auth add: %s%s", r.Stdout, r.Stderr)
		}
		made, err := os.ReadFile(file)
		harness.Must(t, err)
		creds[name] = made
	}
	if r := harness.Run(t, "auth", "grant", "bob", "command agent:bob-*", "--data", e.Data); r.Code != 0 { // he may write, not read
		t.Fatalf("auth grant: %s%s", r.Stdout, r.Stderr)
	}
	a := keys(t, e)
	alice, _ := connect(t, e, creds["alice"])
	bob, broken := connect(t, e, creds["bob"])
	account, err := a.Account("alice")
	harness.Must(t, err)

	t.Run("credentials", func(t *testing.T) { credentials(t, e, creds["alice"]) })
	t.Run("hear", func(t *testing.T) { hear(t, alice, bob) })
	t.Run("read", func(t *testing.T) { read(t, bob) })
	t.Run("forge", func(t *testing.T) { forge(t, alice, bob, account) })
	t.Run("rotate and revoke", func(t *testing.T) {
		lost := others(t, alice)
		rotate(t, e, a, creds)
		lost()
	})
	t.Run("when the command has returned", func(t *testing.T) { atOnce(t, e) })
	select {
	case err := <-broken:
		if strings.Contains(err.Error(), "closed") {
			t.Errorf("bob lost his connection: %v", err)
		}
	default:
	}
	if r := e.Run("verify"); r.Code != 0 { // with the operator's credentials in the data directory
		t.Errorf("verify: %s%s", r.Stdout, r.Stderr)
	}
	for _, name := range []string{"keys.json", "operator.creds", "principals/alice.json"} {
		info, err := os.Stat(filepath.Join(embedded.KeysDir(e.Data), name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

// credentials tries to connect as another one.
func credentials(t *testing.T, e *harness.Engine, alice []byte) {
	foreign, err := auth.Open(auth.Config{Dir: t.TempDir()})
	harness.Must(t, err)
	other, err := foreign.NewPrincipal("alice")
	harness.Must(t, err)
	engine, err := foreign.EngineCreds()
	harness.Must(t, err)
	swap := func(jwtOf, seedOf []byte) []byte { // one's JWT with another's key
		head, _, _ := strings.Cut(string(jwtOf), "-----BEGIN USER NKEY SEED-----")
		_, seed, _ := strings.Cut(string(seedOf), "-----BEGIN USER NKEY SEED-----")
		return []byte(head + "-----BEGIN USER NKEY SEED-----" + seed)
	}
	for what, opts := range map[string][]nats.Option{
		"nothing":                    nil,
		"a user and a password":      {nats.UserInfo("engine", "x")},
		"the name of a principal":    {nats.UserInfo("alice", "")},
		"a token":                    {nats.Token("alice")},
		"another engine's principal": {nats.UserCredentialBytes(other)},
		"another engine's own":       {nats.UserCredentialBytes(engine)},
		"alice's JWT, another key":   {nats.UserCredentialBytes(swap(alice, other))},
		"another JWT, alice's key":   {nats.UserCredentialBytes(swap(other, alice))},
	} {
		nc, err := nats.Connect(e.NATSURL, opts...)
		if err == nil {
			nc.Close()
			t.Errorf("%s is admitted", what)
		}
	}
}

// hear subscribes to everything while alice works.
func hear(t *testing.T, alice, bob *harness.Client) {
	subs := map[string]*nats.Subscription{}
	for _, subject := range []string{">", "*.>", "agents.>", "agents.state.alice-1.>", "tasks.>", "messages.>", "outcomes.>", "_INBOX.>", "commands.>", "queries.>",
		"enqueue.>", "tm.>", "$JS.>", "$KV.>", "events.>", "lanes.>", "$SRV.>", "_R_.>"} {
		sub, err := bob.SubscribeSync(subject)
		harness.Must(t, err)
		subs[subject] = sub
	}
	harness.Must(t, bob.Flush())
	own, err := alice.SubscribeSync("outcomes.>")
	harness.Must(t, err)
	alice.MustSet(t, "alice-1", "secret", "alice", nil)
	_, err = alice.JS.Publish(t.Context(), "enqueue.agent.alice-1.set", []byte(`{"key":"queued","value":"alice"}`), jetstream.WithMsgID("from-alice"))
	harness.Must(t, err)
	m, err := own.NextMsg(harness.Patience)
	if err != nil || m.Subject != "outcomes.from-alice" {
		t.Fatalf("alice's outcome: %+v %v", m, err)
	}
	harness.Eventually(t, "alice reads her outcome", func() error { // a subscriber may hear it before it is stored
		_, err := alice.Query(t.Context(), "queries.command.from-alice.get", nil)
		return err
	})
	_, err = bob.Query(t.Context(), "queries.command.from-alice.get", nil)
	harness.WantRefusal(t, "bob reads alice's outcome", err, 404, "command.not_found")
	for subject, sub := range subs {
		for m := hears(t, sub); m != nil; m = hears(t, sub) {
			if strings.Contains(string(m.Data), "alice") && !strings.Contains(string(m.Data), "command.not_found") {
				t.Errorf("bob hears on %s: %s %.200s", subject, m.Subject, m.Data)
			}
		}
		_ = sub.Unsubscribe() // it may be refused
	}
}

// read asks for everything without a grant.
func read(t *testing.T, bob *harness.Client) {
	for _, stream := range engineStreams {
		for api, body := range map[string]string{
			"STREAM.INFO." + stream: "", "STREAM.MSG.GET." + stream: `{"seq":1}`, "DIRECT.GET." + stream: `{"seq":1}`,
			"CONSUMER.CREATE." + stream + ".spy": fmt.Sprintf(`{"stream_name":%q,"config":{"name":"spy","deliver_policy":"all","deliver_subject":"_INBOX.spy"}}`, stream),
			"STREAM.PURGE." + stream:             "", "STREAM.DELETE." + stream: "",
		} {
			if code, answer := jsAPI(t, bob.Conn, api, body); code == 0 || strings.Contains(answer, "alice") {
				t.Errorf("%s: %d %s", api, code, answer)
			}
		}
	}
	if code, answer := jsAPI(t, bob.Conn, "STREAM.NAMES", ""); code != 0 || strings.Contains(answer, "EVENTS") {
		t.Errorf("names of streams: %d %s", code, answer)
	}
}

// forge speaks as alice and as the engine.
func forge(t *testing.T, alice, bob *harness.Client, account string) {
	heard, err := alice.SubscribeSync(">")
	harness.Must(t, err)
	harness.Must(t, alice.Flush())
	for _, subject := range []string{
		"tm." + account + ".commands.agent.alice-1.set", "tm." + account + ".intake.agent.alice-1.set", "tm." + account + ".queries.engine.status",
		"tm." + account + ".outcomes.x", "tm." + account + ".inbox.x", "tm." + account + ".api.STREAM.NAMES", "lanes.0.agent.alice-1.set." + account,
		"outcomes.from-alice", "agents.state.alice-1.secret", "events.agent.alice-1.state.secret", "_INBOX.x", "$KV.AGENT_STATE.alice-1.secret",
		"$JS.ACK.TASK_EXECUTION." + account + ".1.1.1.1.1", "$JS.ACK.COMMANDS.lane-0.1.1.1.1.1",
	} {
		harness.Must(t, bob.Publish(subject, []byte(`{"key":"secret","value":"bob"}`)))
		harness.Must(t, bob.PublishRequest("commands.agent.bob-1.set", subject, []byte(`{"key":"k","value":"bob","strategy":"last_write_wins"}`)))
	}
	for _, name := range []string{"Nats-Request-Info", "nats-request-info", "NATS-REQUEST-INFO"} {
		m := &nats.Msg{Subject: "commands.agent.alice-1.set", Header: nats.Header{name: {fmt.Sprintf(`{"acc":%q,"kind":"Client","user":"x"}`, account)}}, Data: []byte(`{"key":"secret","value":"bob"}`)}
		if _, err := bob.Ask(t.Context(), m); err == nil && name != "Nats-Request-Info" { // the server replaces that one
			t.Errorf("a forged %s is believed", name)
		}
	}
	bob.MustSet(t, "bob-1", "k", "after", M{"strategy": "last_write_wins"})
	for m := hears(t, heard); m != nil; m = hears(t, heard) {
		if strings.Contains(string(m.Data), "bob") {
			t.Errorf("alice hears bob on %s: %.200s", m.Subject, m.Data)
		}
	}
}

// others has a principal work until the function that it returns is called, which fails
// the test if any of its commands was lost.
func others(t *testing.T, alice *harness.Client) func() {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	n := 0
	go func() {
		for ctx.Err() == nil {
			if _, err := alice.Set(context.WithoutCancel(ctx), "alice-1", "work", n, M{"strategy": "last_write_wins"}); err != nil {
				done <- err
				return
			}
			n++
		}
		done <- nil
	}()
	return func() {
		t.Helper()
		cancel()
		if err := harness.Receive(t, "the end of alice's work", done); err != nil || n == 0 {
			t.Errorf("%d commands of alice, then %v", n, err)
		}
	}
}

// atOnce rotates and revokes with the commands: once these have returned, the credentials have
// ended and so have their connections.
func atOnce(t *testing.T, e *harness.Engine) {
	creds := addPrincipal(t, e, "dave", "--role", "agent")
	next := filepath.Join(t.TempDir(), "next.creds")
	for _, args := range [][]string{{"rotate", "dave", "--out", next}, {"revoke", "dave"}} {
		old, _ := connect(t, e, creds, nats.NoReconnect())
		harness.Must(t, old.Flush())
		if r := harness.Run(t, append([]string{"auth"}, append(args, "--data", e.Data)...)...); r.Code != 0 {
			t.Fatalf("%+v", r)
		}
		if nc, err := nats.Connect(e.NATSURL, nats.UserCredentialBytes(creds)); err == nil {
			nc.Close()
			t.Errorf("%s: the credentials are admitted", args[0])
		}
		if old.Flush() == nil {
			t.Errorf("%s: their connection is open", args[0])
		}
		creds, _ = os.ReadFile(next)
	}
}

// revocation is within what time revoked credentials end.
const revocation = 2 * time.Second

// rotate ends credentials while others stay connected.
func rotate(t *testing.T, e *harness.Engine, a *auth.Authority, creds map[string][]byte) {
	gone := make(chan struct{}, 10)
	carol, _ := connect(t, e, creds["carol"], nats.DisconnectErrHandler(func(*nats.Conn, error) { gone <- struct{}{} }), nats.NoReconnect())
	carol.MustSet(t, "carol-1", "k", 1, nil)
	next, err := a.Rotate("carol")
	harness.Must(t, err)
	harness.Receive(t, "the end of the rotated connection", gone)
	refused := func(what string, old []byte) {
		t.Helper()
		nc, err := nats.Connect(e.NATSURL, nats.UserCredentialBytes(old))
		if err == nil {
			nc.Close()
			t.Errorf("%s are admitted", what)
		}
	}
	refused("rotated credentials", creds["carol"])
	carol, _ = connect(t, e, next, nats.DisconnectErrHandler(func(*nats.Conn, error) { gone <- struct{}{} }), nats.NoReconnect())
	carol.MustSet(t, "carol-1", "k", 2, nil)
	began := time.Now()
	harness.Must(t, a.Revoke("carol"))
	harness.Receive(t, "the end of the revoked connection", gone)
	refused("revoked credentials", next)
	if took := time.Since(began); took > revocation {
		t.Errorf("the revocation took %s", took)
	}
}
