package topology

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// seal seals a stream, and returns the configuration that it had.
func seal(t *testing.T, c *harness.Client, name string) jetstream.StreamConfig {
	t.Helper()
	s, err := c.JS.Stream(t.Context(), name)
	harness.Must(t, err)
	was := s.CachedInfo().Config
	cfg := was
	cfg.Sealed = true
	_, err = c.JS.UpdateStream(t.Context(), cfg)
	harness.Mustf(t, err, "seal %s", name)
	return was
}

// ofOthers makes streams of the engine as another program may: TIMERS gets back what it
// lacks, and /readyz names what COMMANDS lacks, which no server changes, until it is removed.
func ofOthers(t *testing.T, e *harness.Engine, c *harness.Client) {
	for name, subject := range map[string]string{"TIMERS": "timers.>", "COMMANDS": "enqueue.>"} {
		harness.Eventually(t, name+" is another program's", func() error { // the engine may be faster
			harness.Must(t, c.JS.DeleteStream(t.Context(), name))
			_, err := c.JS.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{subject}})
			return err
		})
	}
	timed(t, c, "others", 4*time.Second)
	passed(t, c, "others")
	harness.Eventually(t, "/readyz still names COMMANDS", says(e, "stream COMMANDS lacks retention WorkQueue", true))
	harness.Must(t, c.JS.DeleteStream(t.Context(), "COMMANDS"))
	harness.Eventually(t, "/readyz does not name COMMANDS", says(e, "COMMANDS", false))
}

// sealed seals streams that the engine writes: /readyz names each and what to do, which
// helps without a restart.
func sealed(t *testing.T, e *harness.Engine, c *harness.Client) {
	c.MustDo(t, "task.sealed.create", M{"kind": "x"})
	c.MustDo(t, "view.sealed.define", M{"from": "state", "agents": "sealed-*", "into": []string{"kv"}, "columns": M{"x": M{"path": "/value", "type": "text"}}})
	harness.Eventually(t, "the view has a bucket", func() error { _, err := c.JS.KeyValue(t.Context(), "VIEW_sealed"); return err })
	seal(t, c, "KV_VIEW_sealed")
	c.MustSet(t, "sealed-1", "k", "x", nil)
	harness.Eventually(t, "/readyz names the view", says(e, "the bucket of view sealed is behind: invalid operation on sealed stream", true))
	names := []string{"KV_TASK_STATE", "TIMERS", "KV_TIDEMARK_LEASES", "TASK_EXECUTION"}
	for _, name := range names {
		seal(t, c, name)
	}
	outcomes := seal(t, c, "OUTCOMES")
	names = append(names, "KV_VIEW_sealed")
	for _, name := range append(names, "OUTCOMES") {
		harness.Eventually(t, "/readyz names "+name, says(e, "the stream "+name+" is sealed", true))
	}
	for _, name := range names {
		harness.Must(t, c.JS.DeleteStream(t.Context(), name))
	}
	restore(t, c.Conn, outcomes, backup(t, c.Conn, "OUTCOMES"))
	for _, name := range append(names, "OUTCOMES") {
		harness.Eventually(t, "/readyz does not name "+name, says(e, name, false))
	}
	harness.Eventually(t, "the row is in the bucket of its view", func() error { _, err := value(t, c.JS, "VIEW_sealed", "sealed-1.k"); return err })
	harness.Eventually(t, "/readyz does not name the view", says(e, "view sealed", false))
	harness.Eventually(t, "the task is in its bucket again", func() error { _, err := value(t, c.JS, "TASK_STATE", "sealed"); return err })
	timed(t, c, "unsealed", 2*time.Second)
	passed(t, c, "unsealed")

	s, err := c.JS.Stream(t.Context(), "AUDIT")
	harness.Must(t, err)
	principals := backup(t, c.Conn, "AUDIT")
	harness.Must(t, c.JS.DeleteStream(t.Context(), "AUDIT"))
	harness.Eventually(t, "/readyz says that AUDIT is gone", says(e, "the stream AUDIT is gone", true))
	restore(t, c.Conn, s.CachedInfo().Config, principals)
	harness.Eventually(t, "/readyz does not say so", says(e, "AUDIT", false))
}

// sealedJournal seals the journal: /readyz is 503 and says why, and commands too, until the
// journal is restored from a backup of it, without a restart.
func sealedJournal(t *testing.T, e *harness.Engine, c *harness.Client) {
	c.MustSet(t, "sealed", "k", 1, nil)
	was := seal(t, c, "EVENTS")
	harness.Eventually(t, "/readyz is 503 and says why", func() error {
		if code, body := e.Ready(); code != 503 || !strings.Contains(body, "the journal's stream is sealed") {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
	_, err := c.Set(t.Context(), "sealed", "k", 2, nil)
	if err == nil || !strings.Contains(err.Error(), "journal.sealed") {
		t.Errorf("a command on a sealed journal: %v", err)
	}
	restore(t, c.Conn, was, backup(t, c.Conn, "EVENTS"))
	e.Await()
	harness.Eventually(t, "a command is accepted", func() error { _, err := c.Set(t.Context(), "sealed", "k", 2, nil); return err })
	e.Verify()
}

// copied is a backup of a stream.
type copied struct {
	state  json.RawMessage
	chunks [][]byte
}

// backup is what nats stream backup does.
func backup(t *testing.T, nc *nats.Conn, name string) (b copied) {
	t.Helper()
	inbox := nats.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	harness.Must(t, err)
	defer func() { _ = sub.Unsubscribe() }()
	var begun struct{ State json.RawMessage }
	api(t, nc, "$JS.API.STREAM.SNAPSHOT."+name, M{"deliver_subject": inbox}, &begun)
	b.state = begun.State
	for {
		m, err := sub.NextMsg(harness.Patience)
		harness.Must(t, err)
		if len(m.Data) == 0 {
			return b
		}
		b.chunks = append(b.chunks, m.Data)
		if m.Reply != "" { // the server waits for it
			harness.Must(t, m.Respond(nil))
		}
	}
}

// restore removes a stream and makes it again from a backup, with another configuration, as
// nats stream restore --config does.
func restore(t *testing.T, nc *nats.Conn, cfg jetstream.StreamConfig, b copied) {
	t.Helper()
	if err := deleteStream(t, nc, cfg.Name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Fatal(err)
	}
	var begun struct {
		Deliver string `json:"deliver_subject"`
	}
	api(t, nc, "$JS.API.STREAM.RESTORE."+cfg.Name, M{"config": cfg, "state": b.state}, &begun)
	for _, chunk := range b.chunks {
		_, err := nc.Request(begun.Deliver, chunk, harness.Patience)
		harness.Must(t, err)
	}
	done, err := nc.Request(begun.Deliver, nil, harness.Patience)
	harness.Must(t, err)
	if strings.Contains(string(done.Data), `"error"`) {
		t.Fatalf("restore %s: %s", cfg.Name, done.Data)
	}
}

func deleteStream(t *testing.T, nc *nats.Conn, name string) error {
	t.Helper()
	js, err := jetstream.New(nc, harness.Patient)
	harness.Must(t, err)
	return js.DeleteStream(t.Context(), name)
}

// api sends a request to the server's API.
func api(t *testing.T, nc *nats.Conn, subject string, body, into any) {
	t.Helper()
	text := []byte(nil)
	if body != nil {
		var err error
		text, err = json.Marshal(body)
		harness.Must(t, err)
	}
	m, err := nc.Request(subject, text, harness.Patience)
	harness.Must(t, err)
	var no struct{ Error *jetstream.APIError }
	harness.Must(t, json.Unmarshal(m.Data, &no))
	if no.Error != nil {
		t.Fatalf("%s: %v", subject, no.Error)
	}
	if into != nil {
		harness.Must(t, json.Unmarshal(m.Data, into))
	}
}
