package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// refusals: a malformed command or query is refused with the place of the
// error, and leaves no event (wire contract, sections 1 and 2).
func refusals(t *testing.T, e *harness.Engine) {
	c := e.Client(t)
	c.MustSet(t, "ref", "there", 1, nil)
	used := harness.NewID()
	_, err := c.Command(t.Context(), "commands.agent.ref.set", used, `{"key":"used","value":1}`)
	harness.Must(t, err)
	_, err = c.Command(t.Context(), "commands.task.ref.create", "", `{"kind":"test"}`)
	harness.Must(t, err)
	mine := func() (n int) {
		for _, ev := range c.Journal(t) {
			if !strings.HasSuffix(ev.Subject, ".lifecycle") { // the engine writes these by itself
				n++
			}
		}
		return n
	}
	journal := mine()

	const set = "commands.agent.ref.set"
	future := time.Now().Add(time.Hour)
	value := func(json string) string { return `{"key":"k","value":` + json + `}` }
	key := func(key string) string { return fmt.Sprintf(`{"key":%q,"value":1}`, key) }
	for _, no := range []struct {
		subject, id, body string
		status            int
		code              string
		says              string // part of the message
	}{
		// Names.
		{"commands.agent." + strings.Repeat("a", 129) + ".set", "", value("1"), 400, "id.invalid", "128"},
		{"commands.agent.a$b.set", "", value("1"), 400, "id.invalid", "'$'"},
		{"commands.agent.ä.set", "", value("1"), 400, "id.invalid", ""},
		{"commands.agent.kv.set", "", value("1"), 400, "id.invalid", "reserved"},
		{"commands.agent.*.set", "", value("1"), 400, "id.invalid", ""},
		{"queries.agent.a$b.get", "", `{"key":"k"}`, 400, "id.invalid", ""},
		{set, "a b", value("1"), 400, "id.invalid", ""},
		{set, strings.Repeat("a", 129), value("1"), 400, "id.invalid", "128"},
		{set, "", `{"value":1}`, 400, "body.missing_field", "key"},
		{set, "", key(""), 400, "key.invalid", ""},
		{set, "", key(strings.Repeat("k", 256)), 400, "key.invalid", "255"},
		{set, "", key("a..b"), 400, "key.invalid", "two dots"},
		{set, "", key(".a"), 400, "key.invalid", ""},
		{set, "", key("a."), 400, "key.invalid", ""},
		{set, "", key("a b"), 400, "key.invalid", "' '"},
		{set, "", key("agent:1"), 400, "key.invalid", ""},
		{set, "", key("a.*"), 400, "key.invalid", ""},
		{set, "", key("a.>"), 400, "key.invalid", ""},
		{set, "", key("$JS"), 400, "key.invalid", ""},
		{set, "", key("ключ"), 400, "key.invalid", `"ключ"`},
		{"queries.agent.ref.get", "", `{"key":"a..b"}`, 400, "key.invalid", ""},
		// Bodies.
		{set, "", ``, 400, "", ""},
		{set, "", `nonsense`, 400, "json.invalid", "byte"},
		{set, "", `[1]`, 400, "body.invalid", ""},
		{set, "", `{"key":"k","value":1} {}`, 400, "json.invalid", ""},
		{set, "", `{"key":"k","value":1,"colour":"red"}`, 400, "body.unknown_field", "colour"},
		{set, "", `{"key":"k"}`, 400, "body.missing_field", "value"},
		{set, "", `{"key":7,"value":1}`, 400, "body.invalid", "key"},
		{set, "", `{"key":"k","value":1,"expected_version":-1}`, 400, "body.invalid", "expected_version"},
		{set, "", `{"key":"k","value":1,"expected_version":1.5}`, 400, "body.invalid", "expected_version"},
		{set, "", `{"key":"k","value":1,"strategy":"coin"}`, 400, "strategy.unknown", "coin"},
		{set, "", `{"key":"k","value":1,"timestamp":"yesterday"}`, 400, "timestamp.invalid", "yesterday"},
		{set, "", `{"key":"k","value":1,"timestamp":"` + future.Format(time.RFC3339) + `"}`, 400, "timestamp.future", "5s"},
		{"commands.agent.ref.delete", "", `{"key":"there","value":1}`, 400, "body.unknown_field", "value"},
		{"queries.agent.ref.get", "", `{"key":"k","limit":3}`, 400, "body.unknown_field", "limit"},
		{"queries.agent.ref.get", "", `{"key":"k","consistency":"psychic"}`, 400, "consistency.unknown", ""},
		{"queries.agent.ref.get", "", `{"key":"k","token":"elsewhere.0-1"}`, 400, "token.foreign", ""},
		{"queries.agent.ref.get", "", `{"key":"k","token":"?"}`, 400, "token.invalid", ""},
		// Values, each with its place.
		{set, "", value(`"` + "\xff" + `"`), 400, "json.invalid", "/value"},
		{set, "", value(`{"a":["\u0000"]}`), 400, "json.invalid", "/value/a/0"},
		{set, "", value(`{"a":"\ud83d"}`), 400, "json.invalid", "/value/a"},
		{set, "", value(`{"a":1,"b":{"c":1,"c":2}}`), 400, "json.invalid", "/value/b"},
		{set, "", value(strings.Repeat("[", 65) + strings.Repeat("]", 65)), 400, "json.invalid", "64"},
		{set, "", value(`1e309`), 400, "json.invalid", "308"},
		{set, "", value(`1e-309`), 400, "json.invalid", "308"},
		{set, "", value(`1e99999999999999999999`), 400, "json.invalid", "308"},
		{set, "", value(strings.Repeat("1", 41)), 400, "json.invalid", "40"},
		{set, "", value(`NaN`), 400, "json.invalid", ""},
		{set, "", value(`01`), 400, "json.invalid", ""},
		{set, "", value(`'a'`), 400, "json.invalid", ""},
		// Command ids.
		{set, used, `{"key":"used","value":2}`, 409, "command.id_reused", used},
		{"commands.agent.ref.delete", used, `{"key":"used"}`, 409, "command.id_reused", used},
		// Missing things.
		{"commands.agent.ref.delete", "", `{"key":"absent"}`, 404, "state.not_found", "absent"},
		{"commands.agent.ref.fly", "", `{}`, 404, "command.unknown", "fly"},
		{"commands.ghost.ref.set", "", `{}`, 404, "command.unknown", "ghost"},
		{"commands.agent.ref", "", `{}`, 404, "command.unknown", ""},
		{"commands.agent.a.b.set", "", value("1"), 400, "id.invalid", "dot"},
		{"queries.agent.ref.get", "", `{"key":"absent"}`, 404, "state.not_found", "absent"},
		{"queries.agent.absent.get", "", `{"key":"there"}`, 404, "state.not_found", "absent"},
		{"queries.agent.ref.weight", "", `{}`, 404, "query.unknown", "weight"},
		{"queries.ghosts", "", `{}`, 404, "query.unknown", "ghosts"},
		{"queries.agent.a.b.get", "", `{"key":"k"}`, 400, "id.invalid", "dot"},
		{"queries.agent.ref.set", "", value("1"), 404, "query.unknown", "commands.>"},
		{"queries.agent.ref.get", "", `{}`, 400, "body.missing_field", "key"},
		// Domain rules.
		{"commands.task.ref.create", "", `{"kind":"test"}`, 422, "task.exists", "ref"},
		{"commands.task.ref.complete", "", `{}`, 422, "task.not_started", "created"},
		{"commands.task.ref.fail", "", `{"reason":"no way"}`, 400, "reason.invalid", ""},
		{"commands.task.ref.fail", "", `{"reason":"no.way"}`, 400, "reason.invalid", ""},
		{"commands.task.ref.start", "", `{"agent_id":"a$b"}`, 400, "id.invalid", ""},
		{"commands.task.a$b.create", "", `{"kind":"test"}`, 400, "id.invalid", ""},
		{"commands.task.ref2.create", "", `{"kind":"test","priority":11}`, 400, "priority.invalid", "10"},
		{"commands.task.ghost.start", "", `{"agent_id":"ref"}`, 404, "task.not_found", "ghost"},
		{"commands.session.ghost.touch", "", `{}`, 404, "session.not_found", "ghost"},
		{"commands.session.a$b.open", "", `{"owner":"ref"}`, 400, "id.invalid", ""},
		{"commands.config.ref.set", "", `{"key":"a..b","value":1}`, 400, "key.invalid", ""},
		{"commands.config.ref.unset", "", `{"key":"absent"}`, 404, "", "absent"},
		{"commands.agent.ref.hydrated", "", `{}`, 404, "command.unknown", "hydrated"}, // only the engine may
		// Too large.
		{set, "", value(`"` + strings.Repeat("x", 256<<10-1) + `"`), 413, "value.too_large", "262144"},
		{set, "", value("1" + strings.Repeat(" ", 512<<10)), 413, "body.too_large", "524288"},
		{set, "", value(`"` + strings.Repeat("x", 5<<20) + `"`), 413, "body.too_large", ""},
	} {
		_, err := c.Command(t.Context(), no.subject, no.id, no.body)
		got := harness.Refused(err)
		switch kind := map[int]string{400: "invalid", 404: "not_found", 409: "conflict", 413: "too_large", 422: "rejected"}[no.status]; {
		case got == nil:
			t.Errorf("%.60s %.60q: not refused: %v", no.subject, no.body, err)
		case got.Status != no.status || got.Kind != kind || no.code != "" && got.Code != no.code || !strings.Contains(got.Message, no.says):
			t.Errorf("%.60s %.60q: %d %s %s %s; want %d %s %s and a word of %q",
				no.subject, no.body, got.Status, got.Kind, got.Code, got.Message, no.status, kind, no.code, no.says)
		case got.Text == "" || strings.ContainsAny(got.Text, "\r\n"):
			t.Errorf("%.60s %.60q: the header's text is %q", no.subject, no.body, got.Text)
		}
	}
	if now := mine(); now != journal {
		t.Errorf("refusals left %d events", now-journal)
	}
	// Just inside the limits.
	for _, body := range []string{
		value(`"` + strings.Repeat("x", 256<<10-2) + `"`),
		value(strings.Repeat("[", 64) + strings.Repeat("]", 64)),
		value(`[1e308,-1e-308,` + strings.Repeat("1", 40) + `]`),
		value(`"😀\ud83d\ude00"`),
		key(strings.Repeat("k", 255)),
		key("a.b-c_d=e/f.0"),
	} {
		if _, err := c.Command(t.Context(), set, "", body); err != nil {
			t.Errorf("%.60q: %v", body, err)
		}
	}
	if _, err := c.Command(t.Context(), "commands.agent."+strings.Repeat("a", 128)+".set", strings.Repeat("i", 128), value("1")); err != nil {
		t.Errorf("ids of 128 bytes: %v", err)
	}
}
