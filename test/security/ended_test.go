package security

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestRightsThatEnded: what a principal has opened shows it nothing once its rights are gone, also when
// there are new credentials of the name, with fewer rights.
func TestRightsThatEnded(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off", "--auth", "on"}})
	root, _ := connect(t, e, addPrincipal(t, e, "root", "--role", "admin"))
	before, _ := connect(t, e, addPrincipal(t, e, "dora", "--role", "worker"), nats.NoReconnect())
	create := func(stream, config string) string {
		m, err := before.Request("$JS.API.CONSUMER.CREATE."+stream, fmt.Appendf(nil, `{"stream_name":%q,"config":{%s}}`, stream, config), harness.Patience)
		harness.Must(t, err)
		var made struct{ Name string }
		if err := json.Unmarshal(m.Data, &made); err != nil || made.Name == "" {
			t.Fatalf("%s", m.Data)
		}
		return made.Name
	}
	push := create("TASK_EXECUTION", `"deliver_subject":"_INBOX.kept","deliver_policy":"all"`)
	pull := create("TASK_EXECUTION", `"name":"pulled","deliver_policy":"all"`)
	m, err := before.Request("$JS.API.CONSUMER.INFO.TASK_EXECUTION.task-processor", nil, harness.Patience)
	if code, text := status(m, err); code != "" {
		t.Fatalf("task-processor: %s %s", code, text)
	}
	harness.Must(t, before.PublishRequest("commands.tasks.next", before.NewInbox(), []byte(`{"agent_id":"dora","kind":"waited","wait_ms":60000}`)))
	harness.Must(t, before.Flush())
	if r := harness.Run(t, "auth", "revoke", "dora", "--data", e.Data); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	after, _ := connect(t, e, addPrincipal(t, e, "dora", "--role", "agent", "--agents", "other"))
	kept, err := after.SubscribeSync("_INBOX.kept")
	harness.Must(t, err)
	harness.Must(t, after.Flush())
	account, err := keys(t, e).Account("dora")
	harness.Must(t, err)
	operator := e.Operator(t) // who learns of another's consumer that it is not its own
	for _, name := range []string{push, pull, account} {
		harness.Eventually(t, "the end of dora's consumer "+name, func() error {
			m, err := operator.Request("$JS.API.CONSUMER.INFO.TASK_EXECUTION."+name, nil, harness.Patience)
			if code, text := status(m, err); code != "404" {
				return errors.New(code + " " + text)
			}
			return nil
		})
	}
	root.MustDo(t, "task.t-alice.create", M{"kind": "waited"})
	if _, err := root.Command(t.Context(), "commands.task.t-alice.claim", "", M{"agent_id": "alice"}); err != nil {
		t.Errorf("dora's request that waited was given the task: %v", err)
	}
	for _, name := range []string{pull, "task-processor"} {
		m, err := after.Request("$JS.API.CONSUMER.MSG.NEXT.TASK_EXECUTION."+name, []byte(`{"batch":1,"no_wait":true}`), time.Second)
		if err == nil && m.Header.Get("Status") == "" {
			t.Errorf("dora pulls from %s: %s %s", name, m.Subject, m.Data)
		}
	}
	if m := hears(t, kept); m != nil {
		t.Errorf("dora still hears %s", m.Data)
	}
}
