package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// byteForByte: every tier and every output returns a value exactly as it was
// sent.
func byteForByte(t *testing.T, e *harness.Engine) {
	c := e.Client(t)
	long := strings.Repeat(`x😀\u00e9\n`, 200<<10/len(`x😀\u00e9\n`))
	values := []string{
		`{ "a" :  1 ,` + "\t" + `"b":[ ] , "c": { } }`,
		"[\n  1,\r\n  2\n]",
		`1.50`, `1e3`, `1E+3`, `-0`, `0.10`, `-0.0e-0`,
		`123456789012345678901234567890`, `0.1234567890123456789012345678901234567`,
		`9007199254740993`,
		`"\u00e9"`, `"é"`, `"\/"`, `"\ud83d\ude00"`, `"😀"`, `"\u2028\u003c\u003e\u0026<>&"`, `"\t\b\f\"\\"`, `""`,
		`{"b":1,"a":2,"":3}`, `null`, `true`, `[]`, `{}`, `"null"`,
		`"` + long + `"`, `"` + strings.Repeat("y", 200<<10) + `"`,
	}
	var newest harness.Receipt
	for i, v := range values {
		r, err := c.Command(t.Context(), "commands.agent.bytes.set", "", fmt.Sprintf(`{"key":"k%d","value": %s }`, i, v))
		if err != nil {
			t.Fatalf("set %.60s: %v", v, err)
		}
		newest = r
	}
	c.CaughtUp(t)
	bucket, rows := c.KV(t), c.Rows(t)
	kv, err := c.JS.KeyValue(t.Context(), "AGENT_STATE")
	harness.Must(t, err)
	printed := replayed(t, e, "events.agent.bytes.state.>")
	for i, v := range values {
		key := fmt.Sprintf("k%d", i)
		check := func(place string, got []byte) {
			t.Helper()
			if string(got) != v {
				t.Errorf("%s shows %.80q as %.80q", place, v, got)
			}
		}
		for _, consistency := range []string{"cached", "hot", "durable", "strong"} {
			got := c.MustGet(t, "bytes", key, harness.M{"consistency": consistency, "token": newest.Token})
			check("get "+consistency, got.Value)
		}
		raw, err := kv.Get(t.Context(), "bytes."+key)
		harness.Must(t, err)
		if !bytes.Contains(raw.Value(), []byte(`"value":`+v+`,`)) {
			t.Errorf("the bucket holds %.80q as %.120q", v, raw.Value())
		}
		check("the bucket", bucket["bytes."+key].Value)
		check("state_text", rows["bytes."+key].Value)
		check("get at a revision", c.MustGet(t, "bytes", key, harness.M{"at_revision": newest.Revision}).Value)
		// One event is one line, so a raw line break between tokens becomes a
		// space.
		v = strings.NewReplacer("\r", " ", "\n", " ").Replace(v)
		check("replay", printed[key])
	}
	answer, err := c.Query(t.Context(), "queries.agent.bytes.entries", harness.M{"token": newest.Token})
	harness.Must(t, err)
	var list struct{ Entries []harness.Entry }
	harness.Must(t, json.Unmarshal(answer, &list))
	if len(list.Entries) != len(values) {
		t.Errorf("entries lists %d of %d", len(list.Entries), len(values))
	}
	for _, got := range list.Entries {
		var i int
		_, err := fmt.Sscanf(got.Key, "k%d", &i)
		harness.Must(t, err)
		if string(got.Value) != values[i] {
			t.Errorf("entries shows %.80q as %.80q", values[i], got.Value)
		}
	}
}

// documentsByteForByte: so are the values of tasks, sessions, claims, configuration, messages
// and reminders, empty ones included.
func documentsByteForByte(t *testing.T, e *harness.Engine) {
	c := e.Client(t)
	values := []string{
		`{ "a" :  1 ,` + "\t" + `"b":[ ] , "c": { } }`, "[\n  1,\r\n  2\n]", `"\u00e9 \/"`, `1.50`, `null`, `{}`, `[]`, `""`,
	}
	do := func(subject, body, v string) {
		t.Helper()
		c.MustDo(t, subject, strings.ReplaceAll(body, "VALUE", v))
	}
	for i, v := range values {
		id := fmt.Sprintf("bytes-%d", i)
		do("task."+id+".create", `{"kind":"bytes","payload": VALUE }`, v)
		do("task."+id+".claim", `{"agent_id":"bytes"}`, v)
		do("task."+id+".complete", `{"result": VALUE }`, v)
		do("session."+id+".open", `{"owner":"bytes"}`, v)
		do("session."+id+".put", `{"key":"k","value": VALUE }`, v)
		do("claim."+id+".acquire", `{"owner":"bytes","data": VALUE }`, v)
		do("config."+id+".set", `{"key":"k","value": VALUE }`, v)
		do("message.bytes.direct", `{"to":"`+id+`","body": VALUE }`, v)
		do("reminder."+id+".set", `{"at":"2999-01-01T00:00:00Z","command":{"subject":"agent.bytes.set","body":{"key":"k","value": VALUE }}}`, v)
		if r, err := c.Command(t.Context(), "commands.task."+id+".complete", harness.NewID(), `{"result":`+v+`}`); err != nil || r.Outcome != "unchanged" {
			t.Errorf("the result %.80q again: %+v %v", v, r, err)
		}
	}
	c.CaughtUp(t)
	for i, v := range values {
		id := fmt.Sprintf("bytes-%d", i)
		for query, members := range map[string][]string{
			"task." + id + ".get": {"payload", "result"}, "session." + id + ".get": {"k"}, "claim." + id + ".get": {"data"}, "config." + id + ".entries": {"value"},
			"message." + id + ".inbox": {"body"}, "reminder." + id + ".get": {"value"},
			"tasks.list": {"payload", "result"}, "sessions.list": {"k"}, "claims.list": {"data"}, "reminders.list": {"value"},
		} {
			body := harness.M{}
			if strings.HasSuffix(query, "s.list") {
				body["prefix"] = id
			}
			answer, err := c.Query(t.Context(), "queries."+query, body)
			harness.Mustf(t, err, "%s", query)
			for _, member := range members {
				if !bytes.Contains(answer, []byte(`"`+member+`":`+v)) && !bytes.Contains(answer, []byte(`"`+member+`": `+v)) {
					t.Errorf("%s shows %s %.80q as %.300q", query, member, v, answer)
				}
			}
		}
	}
}

// replayed returns the value of each key as `engine replay` prints it.
func replayed(t *testing.T, e *harness.Engine, subject string) map[string][]byte {
	t.Helper()
	r := e.Run("replay", "--subject", subject)
	if r.Code != 0 {
		t.Fatalf("replay: %d %s", r.Code, r.Stderr)
	}
	values := map[string][]byte{}
	lines := bufio.NewScanner(strings.NewReader(r.Stdout))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var ev harness.Event
		if err := json.Unmarshal(lines.Bytes(), &ev); err != nil {
			t.Fatalf("replay printed %.200q: %v", lines.Text(), err)
		}
		values[ev.Key] = ev.Data.Value
	}
	harness.Must(t, lines.Err())
	return values
}
