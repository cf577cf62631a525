package security

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// external is an external NATS server, or a cluster of them, with the accounts that
// engine auth print-config prints.
type external struct {
	t        *testing.T
	dir      string
	data     string           // of the first engine, with the keys
	operator bool             // mode
	ports    []int            // of clients, then of routes
	reloads  int              // so far
	servers  []*harness.Child // each in a process of its own
}

// startExternal makes the keys and the principals, then starts n servers.
func startExternal(t *testing.T, operator bool, n int, principals map[string][]string) *external {
	t.Helper()
	dir := harness.TempDir(t)
	x := &external{t: t, dir: dir, data: filepath.Join(dir, "data"), operator: operator, ports: harness.FreePorts(t, 2*n), servers: make([]*harness.Child, n)}
	mode := []string{"init", "--external"}
	if operator {
		mode = append(mode, "--operator-mode")
	}
	x.auth(mode...)
	for name, args := range principals {
		x.add(name, args...)
	}
	x.print()
	for i := range n {
		x.start(i)
	}
	return x
}

// auth runs engine auth.
func (x *external) auth(args ...string) string {
	x.t.Helper()
	r := harness.Run(x.t, append(append([]string{"auth"}, args...), "--data", x.data)...)
	if r.Code != 0 {
		x.t.Fatalf("auth %q: %s%s", args, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

func (x *external) file(name string) string { return filepath.Join(x.dir, name+".secret") }

// add adds a principal, which gets a file with its secret.
func (x *external) add(name string, args ...string) {
	x.t.Helper()
	x.auth(append([]string{"add", name, "--out", x.file(name)}, args...)...)
}

// print writes the accounts into the file that all servers include.
func (x *external) print() {
	x.t.Helper()
	args := []string{"print-config"}
	if x.operator {
		args = append(args, "--operator-mode")
	}
	harness.Must(x.t, os.WriteFile(filepath.Join(x.dir, "accounts.conf"), []byte(x.auth(args...)), 0o600))
}

// start starts one server on its own configuration, which overrides what is printed for
// a single one.
func (x *external) start(i int) {
	x.t.Helper()
	n, own := len(x.servers), fmt.Sprintf("include \"accounts.conf\"\nserver_name: n%d\nlisten: \"127.0.0.1:%d\"\nlog_file: %q\njetstream { store_dir: %q, max_file: 64GB }\n",
		i, x.ports[i], x.log(i), filepath.Join(x.dir, fmt.Sprint("n", i)))
	if x.operator {
		own += fmt.Sprintf("resolver { type: full, dir: %q }\n", filepath.Join(x.dir, fmt.Sprint("accounts", i)))
	}
	if n > 1 {
		var routes []string
		for _, port := range x.ports[n:] {
			routes = append(routes, fmt.Sprintf("\"nats://127.0.0.1:%d\"", port))
		}
		own += fmt.Sprintf("cluster { name: c, listen: \"127.0.0.1:%d\", routes: [%s] }\n", x.ports[n+i], strings.Join(routes, ", "))
	}
	file := filepath.Join(x.dir, fmt.Sprintf("n%d.conf", i))
	harness.Must(x.t, os.WriteFile(file, []byte(own), 0o600))
	x.servers[i] = harness.StartNATSServer(x.t, fmt.Sprint("n", i), file)
	x.logged(i, "Server is ready", 1)
}

// logged waits until the log of the i-th server has a text n times.
func (x *external) logged(i int, text string, n int) {
	x.t.Helper()
	harness.Eventually(x.t, fmt.Sprintf("%q in the log of the server %d", text, i), func() bool {
		log, err := os.ReadFile(x.log(i))
		return err == nil && strings.Count(string(log), text) >= n
	})
}

func (x *external) log(i int) string { return filepath.Join(x.dir, fmt.Sprintf("n%d.log", i)) }

// url has all servers, the i-th first.
func (x *external) url(i int) string {
	var urls []string
	for k := range x.servers {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", x.ports[(i+k)%len(x.servers)]))
	}
	return strings.Join(urls, ",")
}

// credentials are the options of a file that engine auth has written.
func (x *external) credentials(file string) nats.Option {
	x.t.Helper()
	info, err := os.Stat(file)
	harness.Must(x.t, err)
	if info.Mode().Perm() != 0o600 {
		x.t.Errorf("%s has the mode %s", file, info.Mode())
	}
	if x.operator {
		return nats.UserCredentials(file)
	}
	opt, err := nats.NkeyOptionFromSeed(file)
	harness.Must(x.t, err)
	return opt
}

// engine starts an engine; all but the first have no keys of principals.
func (x *external) engine(i int) *harness.Engine {
	x.t.Helper()
	flag, file := "--nats-nkey", "engine.nk"
	if x.operator {
		flag, file = "--nats-creds", "engine.creds"
	}
	cfg := harness.Config{Args: []string{"--postgres", "off", "--auth", "on", "--nats", x.url(i), flag, filepath.Join(x.data, "auth", file)}}
	if i == 0 {
		cfg.Data = x.data
	}
	return harness.Start(x.t, cfg)
}

// as connects a principal to the i-th server.
func (x *external) as(i int, name string, opts ...nats.Option) (*harness.Client, chan error) {
	x.t.Helper()
	at := &harness.Engine{NATSURL: x.url(i)}
	return attacker(x.t, at, append(opts, nats.DontRandomize(), x.credentials(x.file(name)))...)
}

// reload makes all servers read the configuration again.
func (x *external) reload() {
	x.t.Helper()
	x.reloads++
	for i, s := range x.servers {
		s.Signal(syscall.SIGHUP)
		x.logged(i, "Reloaded server configuration", x.reloads)
	}
}

// account is the account of a principal as the server names it.
func (x *external) account(name string) string {
	x.t.Helper()
	if !x.operator {
		return identity.ConfigAccount(name)
	}
	_, line, _ := strings.Cut(x.auth("show", name, "--json"), `"account":"`)
	account, _, _ := strings.Cut(line, `"`)
	return account
}

var externalPrincipals = map[string][]string{
	"alice": {"--role", "agent", "--agents", "alice*"},
	"bob":   {"--role", "agent", "--agents", "bob*"},
	"boss":  {"--role", "admin"},
	"wendy": {"--role", "worker", "--agents", "alice*"},
}

// TestExternal: principals on an external server, with accounts in its configuration
// file and in operator mode: clients do what the contract offers, cannot touch what is
// another's or the engine's, and come and go.
func TestExternal(t *testing.T) {
	for name, operator := range map[string]bool{"configuration file": false, "operator mode": true} {
		t.Run(name, func(t *testing.T) {
			x := startExternal(t, operator, 1, externalPrincipals)
			e := x.engine(0)
			x.door(0).matrix()
			x.abuse(0)

			x.add("carol", "--role", "agent")
			if !operator {
				x.print()
				x.reload()
				x.reload()
			}
			carol, _ := x.as(0, "carol")
			feed, err := carol.SubscribeSync("agents.state.carol.>") // her grants name her, without a pattern
			harness.Must(t, err)
			harness.Must(t, carol.Flush())
			carol.MustSet(t, "carol", "k", 1, nil)
			if m, err := feed.NextMsg(harness.Patience); err != nil || m.Subject != "agents.state.carol.k" {
				t.Errorf("carol's feed: %+v %v", m, err)
			}
			x.auth("grant", "bob", "query agent:carol")
			bob, _ := x.as(0, "bob")
			harness.Eventually(t, "the grant", func() error {
				_, err := bob.Get(t.Context(), "carol", "k", nil)
				return err
			})
			x.auth("revoke", "carol")
			if operator {
				harness.Eventually(t, "the end of carol's connection", func() bool { return !carol.IsConnected() })
			}
			harness.Eventually(t, "the refusal of carol", func() bool {
				_, err := carol.Set(t.Context(), "carol", "k", 2, nil)
				return err != nil
			})
			if r := e.Run("verify"); r.Code != 0 { // with the credentials in the data directory
				t.Errorf("verify: %s%s", r.Stdout, r.Stderr)
			}
			if log := x.auth("log"); !strings.Contains(log, "principal.revoked  carol by operator") {
				t.Errorf("the audit:\n%s", log)
			}
			if s := e.Run("status", "--json"); !strings.Contains(s.Stdout, `"accounts":"`+map[bool]string{true: "operator", false: "config"}[operator]) {
				t.Errorf("the status: %s%s", s.Stdout, s.Stderr)
			}
		})
	}
}

// TestExternalCluster: the same on three servers with two engines, of which one has no
// keys of principals.
func TestExternalCluster(t *testing.T) {
	x := startExternal(t, false, 3, externalPrincipals)
	engines := []*harness.Engine{x.engine(0), x.engine(1)}
	x.door(0).matrix()
	for i := range x.servers {
		x.door(i).goClient("alice-" + harness.NewID())
	}
	x.abuse(2)
	engines[0].Stop()
	x.door(1).goClient("alice-" + harness.NewID())
	x.abuse(1)
	engines[0].Restart()
	if r := engines[0].Run("verify"); r.Code != 0 {
		t.Errorf("verify: %s%s", r.Stdout, r.Stderr)
	}
}

// abuse tries what belongs to others. Nothing of it may work.
func (x *external) abuse(i int) {
	t := x.t
	t.Helper()
	alice, _ := x.as(i, "alice")
	bob, _ := x.as(i, "bob")
	id := "alice-" + harness.NewID()
	account := x.account("alice")

	// Credentials.
	stranger, err := nkeys.CreateUser()
	harness.Must(t, err)
	public, err := stranger.PublicKey()
	harness.Must(t, err)
	mine, err := os.ReadFile(x.file("alice"))
	harness.Must(t, err)
	pair, err := nkeys.ParseDecoratedUserNKey(mine)
	harness.Must(t, err)
	hers, err := pair.PublicKey()
	harness.Must(t, err)
	for what, opt := range map[string]nats.Option{
		"nothing": nats.Name("x"), "a password": nats.UserInfo("engine", "x"), "the name of a principal": nats.UserInfo("alice", ""), "a token": nats.Token("x"),
		"an NKey of nobody":          nats.Nkey(public, stranger.Sign),
		"alice's NKey without a key": nats.Nkey(hers, stranger.Sign),
	} {
		if nc, err := nats.Connect(x.url(i), opt, nats.NoReconnect()); err == nil {
			nc.Close()
			t.Errorf("%s is admitted", what)
		}
	}

	// Requests.
	for _, subject := range []string{"commands.agent.ID.set", "commands.agent.ID.delete", "commands.task.ID.create", "commands.session.ID.open", "queries.agent.ID.get", "queries.agent.ID.history", "queries.task.ID.get"} {
		if there := refusal(t, bob, subject, id); subject != "queries.task.ID.get" && !strings.HasPrefix(there, "403 ") {
			t.Errorf("%s of alice: %s", subject, there)
		}
	}

	// Hearing.
	subs := map[string]*nats.Subscription{}
	for _, subject := range []string{
		">", "*.>", "agents.>", "agents.state." + id + ".>", "tasks.>", "messages.>", "outcomes.>", "_INBOX.>", "commands.>", "queries.>", "enqueue.>",
		"tm.>", "tm." + account + ".inbox.>", "$JS.>", "$KV.>", "events.>", "lanes.>", "$SRV.>", "_R_.>", "$TIDEMARK.>", "audit.>",
	} {
		sub, err := bob.SubscribeSync(subject)
		harness.Must(t, err)
		subs[subject] = sub
	}
	harness.Must(t, bob.Flush())
	alice.MustSet(t, id, "secret", "treasure", nil)
	_, err = alice.JS.Publish(t.Context(), "enqueue.agent."+id+".set", []byte(`{"key":"queued","value":"treasure"}`), jetstream.WithMsgID("of-"+id))
	harness.Must(t, err)
	harness.Eventually(t, "alice's outcome", func() error {
		_, err := alice.Query(t.Context(), "queries.command.of-"+id+".get", nil)
		return err
	})
	heardByBob := func(what string) {
		t.Helper()
		for subject, sub := range subs {
			for m := hears(t, sub); m != nil; m = hears(t, sub) {
				if strings.Contains(string(m.Data), what) || what == id && strings.Contains(m.Subject, what) {
					t.Errorf("bob hears on %s: %s %.200s", subject, m.Subject, m.Data)
				}
			}
		}
	}
	heardByBob(id)
	_, err = bob.Query(t.Context(), "queries.command.of-"+id+".get", nil)
	harness.WantRefusal(t, "bob reads alice's outcome", err, 404, "command.not_found")

	// Reading and changing streams.
	for _, stream := range append([]string{"AUDIT"}, engineStreams...) {
		for api, body := range map[string]string{
			"STREAM.MSG.GET." + stream: `{"seq":1}`, "DIRECT.GET." + stream: `{"seq":1}`,
			"CONSUMER.CREATE." + stream + ".spy": fmt.Sprintf(`{"stream_name":%q,"config":{"name":"spy","deliver_policy":"all","deliver_subject":"_INBOX.spy"}}`, stream),
			"STREAM.PURGE." + stream:             "", "STREAM.DELETE." + stream: "", "STREAM.MSG.DELETE." + stream: `{"seq":1}`,
			"STREAM.UPDATE." + stream: `{"name":"` + stream + `","subjects":["own.>"],"max_msgs":1}`,
		} {
			if code, answer := jsAPI(t, bob.Conn, api, body); code == 0 || strings.Contains(answer, "treasure") {
				t.Errorf("%s: %d %s", api, code, answer)
			}
		}
	}
	for _, api := range []string{
		"DIRECT.GET.KV_AGENT_STATE.$KV.AGENT_STATE." + id + ".secret", "STREAM.CREATE.OWN", "CONSUMER.DELETE.TASK_EXECUTION." + account,
		"CONSUMER.INFO.TASK_EXECUTION." + account, "CONSUMER.MSG.NEXT.TASK_EXECUTION." + account, "CONSUMER.DELETE.TASK_EXECUTION.task-processor", "CONSUMER.MSG.NEXT.COMMANDS.lane-0", "CONSUMER.PAUSE.COMMANDS.lane-0", "META.LEADER.STEPDOWN",
		"SERVER.REMOVE", "ACCOUNT.PURGE.ENGINE",
	} {
		if code, answer := jsAPI(t, bob.Conn, api, `{"name":"OWN","subjects":["agents.>"]}`); code == 0 {
			t.Errorf("%s: %d %s", api, code, answer)
		}
	}

	// Speaking for others.
	heard, err := alice.SubscribeSync(">")
	harness.Must(t, err)
	harness.Must(t, alice.Flush())
	for _, subject := range []string{
		"tm." + account + ".commands.agent." + id + ".set", "tm." + account + ".intake.agent." + id + ".set", "tm." + account + ".queries.engine.status",
		"tm." + account + ".outcomes.x", "tm." + account + ".inbox.x", "tm." + account + ".api.STREAM.NAMES", "lanes.0.agent." + id + ".set." + account,
		"outcomes.of-" + id, "agents.state." + id + ".secret", "events.agent." + id + ".state.secret", "_INBOX.x", "$KV.AGENT_STATE." + id + ".secret", "audit.principal.bob",
		"$JS.ACK.TASK_EXECUTION." + account + ".1.1.1.1.1", "$JS.ACK.COMMANDS.lane-0.1.1.1.1.1", "$SYS.REQ.CLAIMS.UPDATE", "deadletters.x", "timers.due.x",
	} {
		harness.Must(t, bob.Publish(subject, []byte(`{"key":"secret","value":"forged"}`)))
		harness.Must(t, bob.PublishRequest("commands.agent.bob-1.set", subject, []byte(`{"key":"k","value":"forged","strategy":"last_write_wins"}`)))
	}
	for _, name := range []string{"Nats-Request-Info", "nats-request-info", "NATS-REQUEST-INFO"} {
		m := &nats.Msg{Subject: "commands.agent." + id + ".set", Header: nats.Header{name: {fmt.Sprintf(`{"acc":%q,"kind":"Client","user":"x"}`, account)}}, Data: []byte(`{"key":"secret","value":"forged"}`)}
		if _, err := bob.Ask(t.Context(), m); err == nil {
			t.Errorf("a forged %q is believed", name)
		}
		m.Subject = "enqueue.agent." + id + ".set"
		m.Header.Set(nats.MsgIdHdr, "of-"+id) // nor does the id of another suppress or replace anything
		harness.Must(t, bob.PublishMsg(m))
	}
	bob.MustSet(t, "bob-1", "k", "after", M{"strategy": "last_write_wins"})
	for m := hears(t, heard); m != nil; m = hears(t, heard) {
		if strings.Contains(string(m.Data), "forged") || strings.Contains(string(m.Data), "bob") {
			t.Errorf("alice hears bob on %s: %.200s", m.Subject, m.Data)
		}
	}
	heardByBob("treasure") // what bob forges he hears himself
	if got := alice.MustGet(t, id, "secret", M{"consistency": "strong"}); string(got.Value) != `"treasure"` || got.Version != 1 {
		t.Errorf("alice's entry is %s", got)
	}
	if !bob.IsConnected() {
		t.Error("bob lost his connection")
	}
}
