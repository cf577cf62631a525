package security

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// door is where plain clients come in: a server, and the credentials of the principals
// alice (role agent, alice*), wendy (role worker) and boss (role admin).
type door struct {
	t     *testing.T
	url   string
	kind  string                   // of the credentials: "", "creds" or "nkey"
	file  func(name string) string // with the credentials
	opens func(name string, opts ...nats.Option) (*harness.Client, chan error)
}

// embeddedDoor is an engine with its own server, with principals or in development mode.
func embeddedDoor(t *testing.T, principals bool) *door {
	t.Helper()
	if !principals {
		e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off"}})
		return &door{t: t, url: e.NATSURL, opens: func(_ string, opts ...nats.Option) (*harness.Client, chan error) { return attacker(t, e, opts...) }}
	}
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off", "--auth", "on"}})
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name+".creds") }
	for name, args := range externalPrincipals {
		if r := harness.Run(t, append([]string{"auth", "add", name, "--out", file(name), "--data", e.Data}, args...)...); r.Code != 0 {
			t.Fatalf("auth add: %s%s", r.Stdout, r.Stderr)
		}
	}
	return &door{t: t, url: e.NATSURL, kind: "creds", file: file, opens: func(name string, opts ...nats.Option) (*harness.Client, chan error) {
		return attacker(t, e, append(opts, nats.UserCredentials(file(name)))...)
	}}
}

// door is the i-th server's.
func (x *external) door(i int) *door {
	kind := "nkey"
	if x.operator {
		kind = "creds"
	}
	return &door{t: x.t, url: x.url(i), kind: kind, file: x.file, opens: func(name string, opts ...nats.Option) (*harness.Client, chan error) {
		return x.as(i, name, opts...)
	}}
}

// TestClients: what the contract offers, from each plain client, on an embedded server.
// TestExternal and TestExternalCluster do the same on external servers.
func TestClients(t *testing.T) {
	for name, principals := range map[string]bool{"development mode": false, "principals": true} {
		t.Run(name, func(t *testing.T) { embeddedDoor(t, principals).matrix() })
	}
}

// matrix does as principals what the contract offers, with each client.
func (d *door) matrix() {
	d.t.Helper()
	for client, does := range map[string]func(id string){"nats.go": d.goClient, "nats.go, legacy": d.legacyClient, "nats.js": d.nodeClient, "engine": d.program} {
		id := "alice-" + harness.NewID()
		d.t.Logf("%s as %s", client, id)
		does(id)
	}
}

// task starts a task, which task-processor then delivers.
func (d *door) task(id string) {
	boss, _ := d.opens("boss")
	boss.MustDo(d.t, "task."+id+".create", M{"kind": "x"})
	boss.MustDo(d.t, "task."+id+".start", M{"agent_id": id})
}

func (d *door) goClient(id string) {
	t := d.t
	t.Helper()
	alice, broken := d.opens("alice")
	feed, err := alice.JS.OrderedConsumer(t.Context(), "AGENT_STATE", jetstream.OrderedConsumerConfig{FilterSubjects: []string{"agents.state." + id + ".>"}})
	harness.Mustf(t, err, "the feed")
	outcomes, err := alice.SubscribeSync("outcomes.>")
	harness.Must(t, err)
	kv, err := alice.JS.KeyValue(t.Context(), "AGENT_STATE")
	harness.Must(t, err)
	watch, err := kv.Watch(t.Context(), id+".>")
	harness.Must(t, err)
	defer func() { _ = watch.Stop() }()
	harness.Must(t, alice.Flush())

	alice.MustSet(t, id, "k", 1, nil)
	if got := alice.MustGet(t, id, "k", M{"consistency": "strong"}); string(got.Value) != "1" {
		t.Errorf("%s", got)
	}
	_, err = alice.JS.Publish(t.Context(), "enqueue.agent."+id+".set", []byte(`{"key":"queued","value":2}`), jetstream.WithMsgID("q-"+id))
	harness.Mustf(t, err, "enqueue")
	m, err := outcomes.NextMsg(harness.Patience)
	if err != nil || m.Subject != "outcomes.q-"+id || !strings.Contains(string(m.Data), `"accepted"`) {
		t.Errorf("the outcome: %+v %v", m, err)
	}
	harness.Eventually(t, "the outcome by query", func() error { // a subscriber may hear it before it is stored
		_, err := alice.Query(t.Context(), "queries.command.q-"+id+".get", nil)
		return err
	})
	for _, key := range []string{"k", "queued"} {
		if m, err := feed.Next(jetstream.FetchMaxWait(harness.Patience)); err != nil || !strings.HasSuffix(m.Subject(), "."+key) {
			t.Errorf("the feed of %s: %+v %v", key, m, err)
		}
	}
	harness.Eventually(t, "the bucket", func() error {
		_, err := kv.Get(t.Context(), id+".k")
		return err
	})
	if history, err := kv.History(t.Context(), id+".k"); err != nil || len(history) != 1 {
		t.Errorf("the history of %s.k: %v %v", id, history, err)
	}
	for seen := map[string]bool{}; len(seen) < 2; {
		if entry := harness.Receive(t, "the watch", watch.Updates()); entry != nil {
			seen[entry.Key()] = true
		}
	}
	ping, err := alice.Request("$SRV.PING.tidemark", nil, harness.Patience)
	if err != nil || !strings.Contains(string(ping.Data), `"tidemark"`) {
		t.Errorf("discovery: %v", err)
	}
	alice.MustDo(t, "agent."+id+".heartbeat", M{"status": "busy"})

	wendy, _ := d.opens("wendy")
	tasks, err := wendy.JS.Consumer(t.Context(), "TASK_EXECUTION", "task-processor")
	harness.Mustf(t, err, "task-processor")
	d.task(id)
	for _, end := range []func(jetstream.Msg) error{jetstream.Msg.Nak, func(m jetstream.Msg) error { return m.DoubleAck(t.Context()) }} {
		harness.Eventually(t, "the task", func() bool {
			m, err := tasks.Next(jetstream.FetchMaxWait(harness.Patience))
			if err != nil {
				return false
			}
			if !strings.HasSuffix(m.Subject(), "."+id) { // of the steps before
				harness.Must(t, m.Ack())
				return false
			}
			harness.Must(t, end(m))
			return true
		})
	}
	boss, _ := d.opens("boss")
	boss.MustDo(t, "task.next-"+id+".create", M{"kind": id})
	claimed, err := wendy.Ask(t.Context(), &nats.Msg{Subject: "commands.tasks.next", Data: []byte(`{"agent_id":"` + id + `","kind":"` + id + `","wait_ms":60000}`)})
	if err != nil || !strings.Contains(string(claimed), `"fence":2`) {
		t.Errorf("tasks.next: %s %v", claimed, err)
	}
	if _, err := wendy.Command(t.Context(), "commands.task.next-"+id+".complete", "", M{"agent_id": id, "fence": 2}); err != nil {
		t.Errorf("complete: %v", err)
	}
	d.unbroken(broken)
}

// unbroken fails when the server refused a client anything that it did.
func (d *door) unbroken(broken chan error) {
	d.t.Helper()
	select {
	case err := <-broken:
		d.t.Errorf("the server refused: %v", err)
	default:
	}
}

// legacyClient uses the JetStream API of nats.go that most programs still use.
func (d *door) legacyClient(id string) {
	t := d.t
	t.Helper()
	alice, broken := d.opens("alice")
	js, err := alice.JetStream(nats.MaxWait(harness.Patience))
	harness.Must(t, err)
	feed, err := js.SubscribeSync("agents.state."+id+".>", nats.BindStream("AGENT_STATE"), nats.OrderedConsumer())
	harness.Mustf(t, err, "the feed")
	defer func() { _ = feed.Unsubscribe() }()
	kv, err := js.KeyValue("AGENT_STATE")
	harness.Must(t, err)
	watch, err := kv.Watch(id + ".>")
	harness.Must(t, err)
	defer func() { _ = watch.Stop() }()

	alice.MustSet(t, id, "k", 1, nil)
	if m, err := feed.NextMsg(harness.Patience); err != nil || m.Subject != "agents.state."+id+".k" {
		t.Errorf("the feed: %+v %v", m, err)
	}
	_, err = js.Publish("enqueue.agent."+id+".set", []byte(`{"key":"queued","value":2}`), nats.MsgId("q-"+id))
	harness.Mustf(t, err, "enqueue")
	for seen := map[string]bool{}; len(seen) < 2; {
		if entry := harness.Receive(t, "the watch", watch.Updates()); entry != nil {
			seen[entry.Key()] = true
		}
	}
	if entry, err := kv.Get(id + ".queued"); err != nil || !strings.Contains(string(entry.Value()), `"value":2`) {
		t.Errorf("the entry: %v %v", entry, err)
	}

	wendy, _ := d.opens("wendy")
	js, err = wendy.JetStream()
	harness.Must(t, err)
	tasks, err := js.PullSubscribe("tasks.started.>", "task-processor", nats.Bind("TASK_EXECUTION", "task-processor"))
	harness.Mustf(t, err, "task-processor")
	d.task(id)
	harness.Eventually(t, "the task", func() bool {
		got, err := tasks.Fetch(1, nats.MaxWait(harness.Patience))
		if err != nil || len(got) != 1 {
			return false
		}
		harness.Must(t, got[0].AckSync())
		return strings.HasSuffix(got[0].Subject, "."+id)
	})
	d.unbroken(broken)
}

// nodeClient runs the same in Node.
func (d *door) nodeClient(id string) {
	t := d.t
	t.Helper()
	dir := harness.NodeModules(t, "testdata/node", "matrix.mjs")
	args := []string{filepath.Join(dir, "matrix.mjs"), d.url, id}
	if d.kind != "" {
		args = append(args, d.kind, d.file("alice"), d.file("wendy"), d.file("boss"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*harness.Patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "node", args...).CombinedOutput()
	if err != nil || string(out) != "commands\nqueue\nviews\ntasks\n" {
		t.Errorf("matrix.mjs: %v\n%s", err, out)
	}
}

// program runs the subcommands of the engine that a client uses.
func (d *door) program(id string) {
	t := d.t
	t.Helper()
	run := func(args ...string) string {
		t.Helper()
		r := harness.Run(t, append(args, d.login()...)...)
		if r.Code != 0 {
			t.Errorf("engine %q: %s%s", args, r.Stdout, r.Stderr)
		}
		return r.Stdout
	}
	run("send", "commands.agent."+id+".set", `{"key":"k","value":1}`)
	run("send", "enqueue.agent."+id+".set", `{"key":"queued","value":2}`, "--id", "p-"+id)
	harness.Eventually(t, "the enqueued command", func() error {
		var page struct{ Entries []struct{ Key string } }
		if err := json.Unmarshal([]byte(run("query", "queries.agent."+id+".entries", "{}", "--json")), &page); err != nil || len(page.Entries) != 2 {
			return fmt.Errorf("%+v %w", page, err)
		}
		return nil
	})
	if got := run("query", "queries.agent."+id+".get", `{"key":"k","consistency":"strong"}`); !strings.Contains(got, "1") {
		t.Errorf("the entry: %s", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	watch := exec.CommandContext(ctx, harness.Binary(t), append([]string{"watch", id + ".>"}, d.login()...)...)
	out, err := watch.StdoutPipe()
	harness.Must(t, err)
	harness.Must(t, watch.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.Contains(line, id) {
		t.Errorf("engine watch: %q %v", line, err)
	}
	cancel()
	_ = watch.Wait() // it was killed
}

// login are the flags of a subcommand for alice.
func (d *door) login() []string {
	args := []string{"--server", d.url}
	if d.kind != "" {
		args = append(args, "--"+d.kind, d.file("alice"))
	}
	return args
}
