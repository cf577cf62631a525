package badinput

import (
	"strings"
	"time"
)

// badReminders are bodies of reminder.set and reminder.cancel.
func badReminders(now time.Time) (all []Case) {
	const command = `"command":{"subject":"agent.a1.set","body":{"key":"k","value":1}}`
	for _, c := range [][3]string{
		{`{` + command + `}`, "schedule.invalid", "exactly one of at, every_ms and cron"},
		{`{"every_ms":1000,"cron":"* * * * *",` + command + `}`, "schedule.invalid", "2 are given"},
		{`{"at":"2126-01-01T00:00:00Z","every_ms":1000,"cron":"* * * * *",` + command + `}`, "schedule.invalid", "3 are given"},
		{`{"at":null,` + command + `}`, "schedule.invalid", "0 are given"},
		{`{"every_ms":999,` + command + `}`, "every_ms.invalid", "1000"},
		{`{"every_ms":0,` + command + `}`, "every_ms.invalid", "1000"},
		{`{"every_ms":-1000,` + command + `}`, "every_ms.invalid", "1000"},
		{`{"every_ms":9223372036854775807,` + command + `}`, "every_ms.invalid", "1000"},
		{`{"every_ms":9223372036854775808,` + command + `}`, "body.invalid", "/every_ms"},
		{`{"every_ms":1500.5,` + command + `}`, "body.invalid", "/every_ms"},
		{`{"every_ms":"1000",` + command + `}`, "body.invalid", "/every_ms"},
		{`{"at":"tomorrow",` + command + `}`, "timestamp.invalid", "at"},
		{`{"at":"",` + command + `}`, "timestamp.invalid", "at"},
		{`{"at":"2026-02-30T00:00:00Z",` + command + `}`, "timestamp.invalid", "at"},
		{`{"at":"2001-01-01T00:00:00Z",` + command + `}`, "at.past", "2001-01-01"},
		{`{"at":"` + now.Add(-time.Hour).UTC().Format(time.RFC3339) + `",` + command + `}`, "at.past", "at"},
		{`{"cron":"",` + command + `}`, "cron.invalid", "0 fields"},
		{`{"cron":"* * * *",` + command + `}`, "cron.invalid", "4 fields"},
		{`{"cron":"0 * * * * *",` + command + `}`, "cron.invalid", "6 fields"},
		{`{"cron":"61 * * * *",` + command + `}`, "cron.invalid", "61"},
		{`{"cron":"@hourly",` + command + `}`, "cron.invalid", "fields"},
		{`{"cron":"TZ=UTC * * * *",` + command + `}`, "cron.invalid", "timezone"},
		{`{"cron":"` + strings.Repeat("1,", 200) + `1 * * * *",` + command + `}`, "cron.invalid", "cron"},
		{`{"cron":"0 0 31 2 *",` + command + `}`, "schedule.never", "no due time"},
		{`{"cron":"* * * * *","timezone":"Mars/Base",` + command + `}`, "timezone.invalid", "Mars/Base"},
		{`{"cron":"* * * * *","timezone":"Local",` + command + `}`, "timezone.invalid", "Local"},
		{`{"cron":"* * * * *","timezone":"../../etc/passwd",` + command + `}`, "timezone.invalid", "passwd"},
		{`{"every_ms":1000,"timezone":"UTC",` + command + `}`, "timezone.invalid", "belongs to cron"},
		{`{"every_ms":1000,"until":"x",` + command + `}`, "timestamp.invalid", "until"},
		{`{"every_ms":1000,"until":"2001-01-01T00:00:00Z",` + command + `}`, "until.past", "2001-01-01"},
		{`{"every_ms":1000,"count":0,` + command + `}`, "count.invalid", "count"},
		{`{"every_ms":1000,"count":-1,` + command + `}`, "count.invalid", "count"},
		{`{"every_ms":1000,"count":1.5,` + command + `}`, "body.invalid", "/count"},
		{`{"every_ms":1000,"count":1000000001,` + command + `}`, "count.invalid", "1000000000"},
		{`{"every_ms":1000,"missed":"some",` + command + `}`, "missed.invalid", "one, all, skip"},
		{`{"every_ms":1000,"missed":1,` + command + `}`, "body.invalid", "/missed"},
		{`{"every_ms":1000,"agent_id":"kv",` + command + `}`, "id.invalid", "reserved"},
		{`{"every_ms":1000,"agent_id":"a b",` + command + `}`, "id.invalid", "' '"},
		{`{"every_ms":1000}`, "body.missing_field", `"command" is missing`},
		{`{"every_ms":1000,"command":null}`, "body.missing_field", `"command" is missing`},
		{`{"every_ms":1000,"command":{}}`, "body.missing_field", `"command.subject" is missing`},
		{`{"every_ms":1000,"command":"agent.a1.set"}`, "body.invalid", "/command"},
		{`{"every_ms":1000,"command":{"subject":1}}`, "body.invalid", "/command/subject"},
		{`{"every_ms":1000,"command":{"subject":"agent.a1.set","id":"x"}}`, "body.unknown_field", "/command/id"},
		{`{"every_ms":1000,"command":{"subject":"agent.a.b.set"}}`, "id.invalid", "2 tokens"},
		{`{"every_ms":1000,"command":{"subject":"agent.a1.set","body":{"value":1}}}`, "body.missing_field", `"key" is missing`},
		{`{"every_ms":1000,"command":{"subject":"agent.a1.set","body":[]}}`, "body.invalid", "JSON object"},
		{`{"every_ms":1000,"command":{"subject":"agent.a1.set","body":{"key":"k","value":1,"nope":1}}}`, "body.unknown_field", "/nope"},
		{`{"every_ms":1000,"command":{"subject":"agent.*.set","body":{"key":"k","value":1}}}`, "id.invalid", "'*'"},
		{`{"every_ms":1000,"command":{"subject":"agent.a1.set","body":{"key":"k","value":1,"value":2}}}`, "json.invalid", "/command/body/value"},
		{`{"every_ms":1000,"command":{"subject":"reminder.r2.set","body":{"every_ms":1,"command":{"subject":"agent.a1.retire"}}}}`, "every_ms.invalid", "command: "},
		{`{"at":"2998-01-01T00:00:00Z","command":{"subject":"task.t1.create","body":{"kind":"k","deadline":"2998-01-01T00:00:00Z"}}}`, "deadline.past", "command: when it is sent, at 2998-01-01T00:00:00Z"},
		{`{"every_ms":3600000,"command":{"subject":"agent.a1.set","body":{"key":"k","value":1,"timestamp":"2998-01-01T00:00:00Z"}}}`, "timestamp.future", "command: when it is sent, at"},
		{`{}`, "body.missing_field", `"command" is missing`},
		{`{"every_ms":1000,"command":{"subject":"reminder.r2.set","body":{"every_ms":1000,"command":{"subject":"agent.a1.set"}}}}`, "body.missing_field", "command: "},
		{`{"every_ms":1000,"nope":1,` + command + `}`, "body.unknown_field", "/nope"},
		{`[]`, "body.invalid", "JSON object"},
	} {
		all = append(all, Case{Request{Subject: "reminder.r1.set", Body: c[0]}, 400, c[1], c[2]})
	}
	for _, subject := range []string{"", "agent", "agent.a1", "ghost.a1.set", "commands.commands.agent.a1.set", "agent.a1.nope", "session.s1.expire", "reminder.r1.due", "batch", "queries.agent.a1.get"} {
		all = append(all, Case{Request{Subject: "reminder.r1.set", Body: `{"every_ms":1000,"command":{"subject":"` + subject + `"}}`}, 404, "command.unknown", "command: "})
	}
	all = append(all,
		Case{Request{Subject: "reminder.r1.set", Body: `{"every_ms":1000,"command":{"subject":"agent.a1.set","body":{"key":"k","value":"` + strings.Repeat("v", 256<<10) + `"}}}`}, 413, "value.too_large", "262144"},
		Case{Request{Subject: "reminder.r1.fired", Body: `{}`}, 404, "command.unknown", "cancel, set"},
		Case{Request{Subject: "reminder.r1.due", Body: `{}`}, 404, "command.unknown", "cancel, set"},
	)
	for body, code := range map[string]string{
		``: "reminder.not_found", `{}`: "reminder.not_found", `{"reason":"r"}`: "body.unknown_field", `[]`: "body.invalid", `1`: "body.invalid", `{`: "json.invalid", `{}{}`: "json.invalid", `null `: "reminder.not_found",
	} {
		status := 400
		if code == "reminder.not_found" {
			status = 404
		}
		all = append(all, Case{Request{Subject: "reminder.none.cancel", Body: body}, status, code, ""})
	}
	for id, place := range map[string]string{"a.b": "2 tokens", "a$b": "'$'", "é": "'é'", "a b": "' '", strings.Repeat("i", 129): "129"} {
		all = append(all,
			Case{Request{Subject: "reminder." + id + ".set", Body: `{"every_ms":1000,` + command + `}`}, 400, "id.invalid", place},
			Case{Request{Subject: "reminder." + id + ".cancel"}, 400, "id.invalid", place})
	}
	return all
}
