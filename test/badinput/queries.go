package badinput

import "strings"

// Queries are the bad queries.
func Queries() (all []Case) {
	for _, c := range []struct {
		subject, body string
		status        int
		code, place   string
	}{
		{"agent.a1.get", `{}`, 400, "body.missing_field", `"key" is missing`},
		{"agent.a1.get", ``, 400, "body.missing_field", `"key" is missing`},
		{"agent.a1.get", `{"key":null}`, 400, "body.missing_field", `"key" is missing`},
		{"agent.a1.history", `{}`, 400, "body.missing_field", `"key" is missing`},
		{"config.a1.get", `{}`, 400, "body.missing_field", `"key" is missing`},
		{"config.a1.history", `{"limit":1}`, 400, "body.missing_field", `"key" is missing`},
		{"agent.a1.get", `{"key":""}`, 400, "key.invalid", "key is empty"},
		{"agent.a1.get", `{"key":"ключ"}`, 400, "key.invalid", `"ключ"`},
		{"agent.a1.get", `{"key":"a..b"}`, 400, "key.invalid", "two dots"},
		{"agent.a1.get", `{"key":"*"}`, 400, "key.invalid", "'*'"},
		{"config.a1.get", `{"key":".a"}`, 400, "key.invalid", "begins with a dot"},
		{"agent.a.b.get", `{"key":"k"}`, 400, "id.invalid", "2 tokens"},
		{"agent.bob@example.org.get", `{"key":"k"}`, 400, "id.invalid", `"bob@example.org"`},
		{"agent.bob@example.get", `{"key":"k"}`, 400, "id.invalid", "'@'"},
		{"agent.v1.2.entries", `{}`, 400, "id.invalid", "2 tokens"},
		{"task.v1.2.get", `{}`, 400, "id.invalid", "2 tokens"},
		{"session.v1.2.3.history", `{}`, 400, "id.invalid", "3 tokens"},
		{"config.a.b.entries", `{}`, 400, "id.invalid", "2 tokens"},
		{"message.a.b.inbox", `{}`, 400, "id.invalid", "2 tokens"},
		{"command.a.b.get", `{}`, 400, "id.invalid", "2 tokens"},
		{"command.a$b.get", `{}`, 400, "id.invalid", "'$'"},
		{"agent.kv.get", `{"key":"k"}`, 400, "id.invalid", "reserved"},
		{"agent.*.get", `{"key":"k"}`, 400, "id.invalid", "'*'"},
		{"agent.é.get", `{"key":"k"}`, 400, "id.invalid", "'é'"},
		{"agent." + strings.Repeat("i", 129) + ".get", `{"key":"k"}`, 400, "id.invalid", "129"},
		{"agent.a1.get", `{"key":"k","limit":1}`, 400, "body.unknown_field", "/limit"},
		{"agent.a1.get", `{"key":"k","nope":1}`, 400, "body.unknown_field", "/nope"},
		{"agent.a1.get", `{"Key":"k"}`, 400, "body.unknown_field", "/Key"},
		{"agent.a1.get", `{"key":1}`, 400, "body.invalid", "/key"},
		{"agent.a1.get", `{"key":"k","token":1}`, 400, "body.invalid", "/token"},
		{"agent.a1.get", `{"key":"k","at_revision":-1}`, 400, "body.invalid", "/at_revision"},
		{"agent.a1.get", `{"key":"k","at_revision":1.0}`, 400, "body.invalid", "/at_revision"},
		{"agent.a1.get", `{"key":"k","at_revision":18446744073709551616}`, 400, "body.invalid", "/at_revision"},
		{"agent.a1.get", `{"key":"k","at_revision":1,"at_time":"2026-01-01T00:00:00Z"}`, 400, "body.invalid", "exclude"},
		{"agent.a1.get", `{"key":"k","consistency":"psychic"}`, 400, "consistency.unknown", "psychic"},
		{"agent.a1.get", `{"key":"k","wait_ms":-1}`, 400, "wait_ms.invalid", "0 to 60000"},
		{"agent.a1.get", `{"key":"k","wait_ms":60001}`, 400, "wait_ms.invalid", "0 to 60000"},
		{"agent.a1.get", `{"key":"k","wait_ms":9223372036854775807}`, 400, "wait_ms.invalid", "0 to 60000"},
		{"agent.a1.get", `{"key":"k","wait_ms":9223372036854775808}`, 400, "body.invalid", "/wait_ms"},
		{"agent.a1.history", `{"key":"k","limit":0}`, 400, "limit.invalid", "1 to 1000"},
		{"agent.a1.history", `{"key":"k","limit":1001}`, 400, "limit.invalid", "1 to 1000"},
		{"agent.a1.history", `{"key":"k","limit":-9223372036854775808}`, 400, "limit.invalid", "1 to 1000"},
		{"agent.a1.history", `{"key":"k","cursor":"+1"}`, 400, "cursor.invalid", "+1"},
		{"agent.a1.history", `{"key":"k","cursor":"x"}`, 400, "cursor.invalid", "x"},
		{"agents.list", `{"max_age_ms":-1}`, 400, "max_age_ms.invalid", "max_age_ms"},
		{"state.a1.find", `{}`, 404, "query.unknown", "state.find"},
		{"state.find", `{"prefix":"a"}`, 400, "body.unknown_field", "/prefix"},
		{"state.find", `{"text":1}`, 400, "body.invalid", "/text"},
		{"state.find", `{"text":"-"}`, 400, "text.invalid", "no word"},
		{"state.find", `{"text":"` + strings.Repeat("x", 1025) + `"}`, 400, "text.invalid", "1024"},
		{"state.find", `{"path":"$."}`, 400, "path.invalid", "$."},
		{"state.find", `{"path":"` + strings.Repeat("x", 4097) + `"}`, 400, "path.invalid", "4096"},
		{"state.find", `{"contains":{"a":1,"a":2}}`, 400, "json.invalid", "/contains/a"},
		{"state.find", `{"contains":"\u0000"}`, 400, "json.invalid", "0000"},
		{"state.find", `{"key":""}`, 400, "key.invalid", "key is empty"},
		{"state.find", `{"cursor":"a"}`, 400, "cursor.invalid", "a"},
		{"state.find", `{"cursor":"a..b"}`, 400, "cursor.invalid", "a..b"},
		{"state.find", `{"limit":0}`, 400, "limit.invalid", "1 to 1000"},
		{"state.find", `{"agent_prefix":"` + strings.Repeat("p", 129) + `"}`, 400, "agent_prefix.invalid", "128"},
		{"state.find", `{"key_prefix":"` + strings.Repeat("p", 256) + `"}`, 400, "key_prefix.invalid", "255"},
		{"agents.list", `{"phase":"warm"}`, 400, "phase.unknown", "warm"},
		{"agents.list", `{"prefix":"` + strings.Repeat("p", 256) + `"}`, 400, "prefix.invalid", "255"},
		{"reminders.list", `{"status":"late"}`, 400, "status.unknown", "late"},
		{"reminders.list", `{"agent_id":"kv"}`, 400, "id.invalid", "reserved"},
		{"reminders.list", `{"cursor":"a b"}`, 400, "cursor.invalid", "a b"},
		{"reminders.list", `{"limit":0}`, 400, "limit.invalid", "1 to 1000"},
		{"reminders.list", `{"kind":"k"}`, 400, "body.unknown_field", "/kind"},
		{"reminder.v1.2.get", `{}`, 400, "id.invalid", "2 tokens"},
		{"reminder.a$b.get", `{}`, 400, "id.invalid", "'$'"},
		{"reminder.none.get", `{}`, 404, "reminder.not_found", "none"},
		{"reminder.none.history", `{}`, 404, "reminder.not_found", "none"},
		{"reminder.none.get", `{"key":"k"}`, 400, "body.unknown_field", "/key"},
		{"reminder.none.entries", `{}`, 404, "query.unknown", "reminder"},
		{"tasks.list", `{"status":"late"}`, 400, "status.unknown", "late"},
		{"tasks.list", `{"agent_id":"kv"}`, 400, "id.invalid", "reserved"},
		{"tasks.list", `{"kind":"a.b"}`, 400, "id.invalid", "kind"},
		{"message.a1.inbox", `{"kind":"letter"}`, 400, "kind.unknown", "letter"},
		{"message.a1.inbox", `{"cursor":"+12-a"}`, 400, "cursor.invalid", "+12-a"},
		{"message.a1.inbox", `{"cursor":"-12-a"}`, 400, "cursor.invalid", "-12-a"},
		{"agent.a1.set", `{"key":"k","value":1}`, 404, "query.unknown", "agent.<id>.entries, agent.<id>.get"},
		{"commands.agent.a1.set", `{"key":"k","value":1}`, 404, "query.unknown", "commands.>"},
		{"agent.a1.weight", `{}`, 404, "query.unknown", "agent.<id>.get"},
		{"task.t1.list", `{}`, 404, "query.unknown", "task.<id>.get"},
		{"ghosts", `{}`, 404, "query.unknown", "agent, agents"},
		{"agent", `{}`, 404, "query.unknown", "agent.<id>.get"},
		{"agent.a1", `{}`, 404, "query.unknown", "agent.<id>.get"},
		{"tasks.all", `{}`, 404, "query.unknown", "tasks.list"},
		{"events.read", `{"subject":"agent..k"}`, 400, "subject.invalid", "agent..k"},
		{"events.read", `{"subject":"agent.>.k"}`, 400, "subject.invalid", "agent.>.k"},
		{"events.read", `{"subject":"agent.a*"}`, 400, "subject.invalid", "agent.a*"},
		{"events.read", `{"subject":"agent.a b"}`, 400, "subject.invalid", "agent.a b"},
		{"events.read", `{"subject":"."}`, 400, "subject.invalid", "like agent.a1.>"},
		{"events.read", `{"subject":"events.agent.a1.>"}`, 400, "subject.invalid", "begins with events."},
		{"events.read", `{"subject":"agent.` + strings.Repeat("k.", 260) + `>"}`, 400, "subject.invalid", "pattern"},
		{"events.read", `{"subject":1}`, 400, "body.invalid", "/subject"},
		{"events.read", `{"partition":-1}`, 400, "partition.invalid", "0 to 0"},
		{"events.read", `{"partition":1}`, 400, "partition.invalid", "0 to 0"},
		{"events.read", `{"partition":"0"}`, 400, "body.invalid", "/partition"},
		{"events.read", `{"from":-1}`, 400, "body.invalid", "/from"},
		{"events.read", `{"from":1.0}`, 400, "body.invalid", "/from"},
		{"events.read", `{"from":18446744073709551616}`, 400, "body.invalid", "/from"},
		{"events.read", `{"from":"1"}`, 400, "body.invalid", "/from"},
		{"events.read", `{"from":10,"until":9}`, 400, "until.invalid", "until 9 is before from 10"},
		{"events.read", `{"until":0}`, 400, "until.invalid", "until 0 is before from 1"},
		{"events.read", `{"limit":0}`, 400, "limit.invalid", "1 to 1000"},
		{"events.read", `{"limit":1001}`, 400, "limit.invalid", "1 to 1000"},
		{"events.read", `{"wait_ms":-1}`, 400, "wait_ms.invalid", "0 to"},
		{"events.read", `{"wait_ms":30001}`, 400, "wait_ms.invalid", "0 to 30000"},
		{"events.read", `{"cursor":"1"}`, 400, "body.unknown_field", "/cursor"},
		{"events.all", `{}`, 404, "query.unknown", "events.read"},
		{"events.a1.read", `{}`, 404, "query.unknown", "events.read"},
		{"engine.status", `{"nope":1}`, 400, "body.unknown_field", "/nope"},
		{"engine.status", `[]`, 400, "body.invalid", "object"},
	} {
		all = append(all, Case{command(c.subject, c.body), c.status, c.code, c.place})
	}
	for _, text := range badTimes {
		all = append(all, Case{command("agent.a1.get", `{"key":"k","at_time":"`+text+`"}`), 400, "timestamp.invalid", "at_time"})
	}
	for _, subject := range []string{"task.t1.get", "session.s1.get", "agent.a1.entries", "agent.a1.lifecycle", "config.a1.entries"} {
		all = append(all, Case{command(subject, `{"at_time":"2026-06-07T12:00:00,5Z"}`), 400, "timestamp.invalid", "at_time"},
			Case{command(subject, `{"token":".+0-1"}`), 400, "token.invalid", "not a read token"},
			Case{command(subject, `{"nope":{"a":1,"a":2}}`), 400, "json.invalid", "/nope/a"})
	}
	for _, token := range []string{"?", "x", ".0-1", "x.+0-1", "x.0-+1", "x.00-1", "x.0-01", "x.0-1.0-1", "x.0-1 ", "x.99-1", "x.-0-1", "x.0-18446744073709551616", "x.0-1.", "x.0"} {
		all = append(all, Case{command("agent.a1.get", `{"key":"k","token":"`+token+`"}`), 400, "token.invalid", "not a read token"})
	}
	for _, body := range []string{
		"{", "}", `{"key":"k"`, `{"key":"k",}`, `{"key":"k"} {}`, `{"key":"k","key":"l"}`, `{"key":"\u0000"}`, `{"key":"\ud800"}`, "{\"key\":\"\xff\"}",
		`{"key":` + strings.Repeat("[", 66) + strings.Repeat("]", 66) + `}`, `{"at_revision":1e309}`, `{"at_revision":` + strings.Repeat("1", 41) + `}`, "{}\x00", "nonsense",
	} {
		all = append(all, Case{command("agent.a1.get", body), 400, "json.invalid", ""})
	}
	return all
}
