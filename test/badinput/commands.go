// Package badinput has requests that must be refused, each with its status, its code
// and a part of the message that names the place. Every door of the engine gives the
// same verdict.
package badinput

import (
	"fmt"
	"strings"
	"time"
)

// Request is one request: the subject below its root, the command id and the body.
type Request struct{ Subject, ID, Body string }

// Case is a request with its verdict.
type Case struct {
	Request
	Status int
	Code   string
	Place  string // part of the message
}

// Commands are the bad commands; now is the engine's time, or later.
func Commands(now time.Time) (all []Case) {
	for _, part := range [][]Case{
		badNames(), badKeys(), badCommandIDs(), badBodies(), badValues(), badFields(), badTypes(), badTimestamps(now),
		badNumbers(), badSizes(), badSubjects(), badMembers(now), badPayloads(), missingMembers(), badComputations(), badReminders(now), badTaskClaims(),
		badClaims(), badViews(),
	} {
		all = append(all, part...)
	}
	return all
}

func command(subject, body string) Request { return Request{Subject: subject, Body: body} }
func agentSet(body string) Request         { return command("agent.a1.set", body) }
func agentDelete(body string) Request      { return command("agent.a1.delete", body) }

// badNames are ids of agents.
func badNames() (all []Case) {
	for id, place := range map[string]string{
		"": "is empty", strings.Repeat("i", 129): "129", strings.Repeat("i", 5000): "5000", "*": "'*'", ">": "'>'", "a*": "'*'", "a.b": "has a dot",
		".": "has a dot", "..": "has a dot", "bob@example.org": `"bob@example.org" has a dot`, "v1.2": "2 tokens", "bob@example": "'@'", "ключ": `"ключ"`, "a b": "' '", "a\tb": `'\t'`, "a\nb": `'\n'`, "a\r\nNats-Rollup: all": `'\r'`, "a\x00": `'\x00'`,
		"a\x7f": `'\x7f'`, "$JS": "'$'", "$KV": "'$'", "$SYS": "'$'", "a$": "'$'", "é": "'é'", "a\xff": "not UTF-8", "😀": "'😀'",
		"a:b": "':'", "a/b": "'/'", "a=b": "'='", "'; DROP TABLE agents.state; --": "has a dot", `"`: `'"'`, `a\b`: `'\\'`, "a%20b": "'%'",
		"{{.}}": "has a dot", "kv": "reserved",
	} {
		all = append(all, Case{command("agent."+id+".set", `{"key":"k","value":1}`), 400, "id.invalid", place})
	}
	return all
}

func badKeys() (all []Case) {
	for key, place := range map[string]string{
		``: "is empty", `.`: "begins with a dot", `..`: "begins with a dot", `.a`: "begins with a dot", `a.`: "ends with a dot", `a..b`: "two dots", `ключ`: `"ключ" has 'к'`, `*`: "'*'", `a.*`: "'*'",
		`>`: "'>'", `a.>`: "'>'", `a b`: "' '", `a:b`: "':'", `agent:a1`: "':'", `$JS.API.STREAM.PURGE.EVENTS`: "'$'", `$KV.B.k`: "'$'",
		`a\tb`: `'\t'`, `a\nb`: `'\n'`, `a\u007fb`: `'\x7f'`, `é`: "'é'", `a\u00e9`: "'é'", `😀`: "'😀'", `a\\b`: `'\\'`,
		`a\"b`: `'"'`, `a'b`: `'\''`, `a;b`: "';'", `a,b`: "','", `a%b`: "'%'", `../../etc/passwd`: "begins with a dot", `a?b`: "'?'", `a#b`: "'#'",
		strings.Repeat("k", 256): "256", strings.Repeat("k", 2705): "2705", strings.Repeat("k.", 128): "256",
		strings.Repeat("k.", 127) + ".": "ends with a dot",
	} {
		all = append(all, Case{agentSet(`{"key":"` + key + `","value":1}`), 400, "key.invalid", place})
	}
	return append(all,
		Case{agentDelete(`{"key":"a b"}`), 400, "key.invalid", "' '"},
		Case{agentDelete(`{}`), 400, "body.missing_field", `"key" is missing`},
		Case{agentSet(`{"value":1}`), 400, "body.missing_field", `"key" is missing`},
		Case{agentSet(`{"key":null,"value":1}`), 400, "body.missing_field", `"key" is missing`},
	)
}

func badCommandIDs() (all []Case) {
	for id, place := range map[string]string{
		strings.Repeat("c", 129): "1 to 128", "a.b": "has a dot", "a b": "' '", "*": "'*'", ">": "'>'", "é": "'é'",
		"c\r\nNats-Expected-Stream: X": `'\r'`, "c\x00": `'\x00'`, "$JS": "'$'", "a/b": "'/'", "{6ba7b810-9dad-11d1-80b4-00c04fd430c8}": "'{'",
	} {
		req := agentSet(`{"key":"k","value":1}`)
		req.ID = id
		all = append(all, Case{req, 400, "id.invalid", place})
	}
	return all
}

// badBodies are not JSON, or not one object.
func badBodies() (all []Case) {
	for body, place := range map[string]string{
		" ": "not JSON", "\n": "not JSON", "{": "byte 1", "}": "byte 0", `{"key"`: "byte", `{"key":`: "byte", `{"key":"k"`: "byte",
		`{"key":"k","value":1`: "byte", `{"key":"k","value":1,}`: "(byte 20)", `{"key":"k" "value":1}`: "(byte 11)",
		`{key:"k","value":1}`: "(byte 1)", `{'key':'k'}`: "(byte 1)", `{"key":"k","value":1} x`: "(byte 22)", `{"key":"k","value":1}}`: "(byte 21)",
		`{"key":"k","value":1}{"key":"k","value":2}`: "more than one", `{"key":"k","value":1} 2`: "more than one", "{}\x00": "(byte 2)",
		"\ufeff{}": "(byte 0)", "\x00": "(byte 0)", "\xff\xfe{}": "(byte 0)", "// c\n{}": "(byte 0)", "<xml/>": "(byte 0)", "key=k": "(byte 0)",
		`{"key":"k","value":1,"key":"l"}`: `at "/key"`, `{"key":"k","value":1,"\u006bey":"l"}`: `at "/key"`,
		`{"key":"k\u0000","value":1}`: `\u0000 cannot be stored, at "/key"`, `{"key":"k","value":1,"writer":"\ud800"}`: "byte",
		"{\"key\":\"k\xff\",\"value\":1}": "byte", "{\"key\":\"k\n\",\"value\":1}": "byte",
		strings.Repeat("[", 100_000): "nested deeper than 64", strings.Repeat(`{"value":`, 50_000): "nested deeper than 64",
	} {
		all = append(all, Case{agentSet(body), 400, "json.invalid", place})
	}
	for body, place := range map[string]string{
		`[]`: "must be a JSON object", `[{"key":"k","value":1}]`: "must be a JSON object", `"k"`: "must be a JSON object",
		`1`: "must be a JSON object", `true`: "must be a JSON object",
	} {
		all = append(all, Case{agentSet(body), 400, "body.invalid", place})
	}
	return append(all,
		Case{agentSet(``), 400, "body.missing_field", `"key" is missing`},
		Case{agentSet(`{}`), 400, "body.missing_field", `"key" is missing`},
		Case{agentSet(`null`), 400, "body.missing_field", `"key" is missing`},
		Case{agentSet(`{"key":"k"}`), 400, "body.missing_field", `"value" is missing`},
	)
}

// badValues are values that KV and SQL cannot store unchanged.
func badValues() (all []Case) {
	for value, place := range map[string]string{
		`"\u0000"`: `at "/value"`, `"a\u0000b"`: `at "/value"`, `{"a":["\u0000"]}`: `at "/value/a/0"`, `{"\u0000":1}`: "cannot be stored",
		`"\ud800"`: "byte", `"\udc00x"`: "byte", `["\ud83dx"]`: "byte", `{"\udfff":0}`: "byte", "\"\xff\"": "byte", "\"\xc0\xaf\"": "byte",
		"\"\xed\xa0\x80\"": "byte", "\"\x01\"": "byte", `{"a":1,"a":1}`: `at "/value/a"`, `{"a":{"b":1,"b":2}}`: `at "/value/a/b"`,
		`[{"x":1},{"y":1,"y":1}]`: `at "/value/1/y"`, `{"a":1,"\u0061":1}`: `at "/value/a"`,
		`1e309`: `exponent beyond ±308, at "/value"`, `-1E+309`: "exponent", `1e-309`: "exponent", `1e999`: "exponent", `1e999999`: "exponent",
		`[1,[2,1e1000]]`: `at "/value/1/1"`, `1e` + strings.Repeat("9", 100): "exponent",
		strings.Repeat("1", 41): `more than 40 digits, at "/value"`, `{"n":` + strings.Repeat("9", 400) + `}`: `at "/value/n"`,
		"0." + strings.Repeat("3", 40): "more than 40 digits",
		`NaN`:                          "byte", `Infinity`: "byte", `-Infinity`: "byte", `undefined`: "byte", `01`: "byte", `+1`: "byte", `.5`: "byte", `5.`: "byte",
		`0x1F`: "byte", `1_000`: "byte", `'x'`: "byte", `"\x41"`: "byte", `"\u{41}"`: "byte", `[1,]`: "byte", `[1 2]`: "byte", `{"a"}`: "byte",
		`{1:2}`: "byte", `{"a":}`: "byte", ``: "byte", `tru`: "byte", `nulll`: "byte", `"open`: "byte",
		strings.Repeat("[", 65) + strings.Repeat("]", 65):             "nested deeper than 64",
		strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65):   "nested deeper than 64",
		strings.Repeat(`[{"a":`, 33) + "1" + strings.Repeat(`}]`, 33): "nested deeper than 64",
		strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000):     "nested deeper than 64",
	} {
		all = append(all, Case{agentSet(`{"key":"k","value":` + value + `}`), 400, "json.invalid", place})
	}
	return all
}

func badFields() (all []Case) {
	for _, field := range []string{
		"Key", "KEY", "val", "Value", "ttl", "expectedVersion", "expected-version", "version", "agent_id", "__proto__", "id", "command_id", "", " key",
	} {
		all = append(all,
			Case{agentSet(`{"key":"k","value":1,"` + field + `":1}`), 400, "body.unknown_field", `"/` + field + `"`},
			Case{agentDelete(`{"key":"k","` + field + `":1}`), 400, "body.unknown_field", `"/` + field + `"`})
	}
	for _, value := range []string{"1", "null", "{}"} {
		all = append(all, Case{agentDelete(`{"key":"k","value":` + value + `}`), 400, "body.unknown_field", `"/value"`})
	}
	return all
}

func badTypes() (all []Case) {
	for field, values := range map[string][]string{
		"key": {"1", "true", "{}", "[]", `["k"]`}, "strategy": {"1", "false", "{}", `["reject"]`}, "writer": {"1", "true", "{}", "[]"},
		"timestamp": {"1780833600", "1.5", "true", "{}", "[]"}, "expected_version": {`"1"`, "true", "{}", "[1]", `""`},
	} {
		for _, value := range values {
			body := `{"value":1,"` + field + `":` + value + `}`
			all = append(all, Case{agentSet(body), 400, "body.invalid", `"/` + field + `"`},
				Case{agentDelete(strings.Replace(body, `"value":1,`, "", 1)), 400, "body.invalid", `"/` + field + `"`})
		}
	}
	return all
}

// badTimes are not times of RFC 3339, or cannot be stored.
var badTimes = []string{
	"now", "2026", "2026-06-07", "12:00:00Z", "2026-06-07 12:00:00Z", "2026-06-07T12:00:00", "2026-06-07T12:00Z", "2026-06-07t12:00:00Z",
	"2026-06-07T12:00:00.Z", "2026-06-07T12:00:00,5Z", "2026-06-07T12:00:00.1234567890Z", "2026-06-07T1:00:00Z", "2026-06-7T12:00:00Z",
	"2026-06-31T12:00:00Z", "2025-02-29T12:00:00Z", "2026-13-01T12:00:00Z", "2026-06-07T24:00:00Z", "2026-06-07T12:60:00Z",
	"2026-06-07T12:00:61Z", "2026-06-07T12:00:00+25:00", "2026-06-07T12:00:00+24:00", "2026-06-07T12:00:00-23:60", "2026-06-07T12:00:00+0100",
	"2026-06-07T12:00:00 UTC", "-2026-06-07T12:00:00Z", "02026-06-07T12:00:00Z", "10000-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00",
	"0000-06-07T12:00:00Z", "0001-01-01T00:00:00+01:00", "1780833600", " 2026-06-07T11:00:00Z",
	"2026-06-07T11:00:00Z ", "2026-06-07T11:00:00Zz", "２０２６-06-07T11:00:00Z", strings.Repeat("2", 10_000),
}

func badTimestamps(now time.Time) (all []Case) {
	for _, text := range append([]string{"0001-01-01T00:00:00Z"}, badTimes...) {
		all = append(all, Case{agentSet(`{"key":"k","value":1,"timestamp":"` + text + `"}`), 400, "timestamp.invalid", "RFC 3339"})
	}
	for _, text := range []string{
		now.Add(5*time.Second + 1).Format(time.RFC3339Nano), now.Add(6 * time.Second).Format(time.RFC3339Nano), now.Add(time.Hour).Format(time.RFC3339Nano),
		now.Add(6 * time.Second).In(time.FixedZone("", 7200)).Format(time.RFC3339Nano), "2099-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z",
	} {
		all = append(all, Case{agentSet(`{"key":"k","value":1,"timestamp":"` + text + `"}`), 400, "timestamp.future", "more than 5s ahead"},
			Case{agentDelete(`{"key":"k","timestamp":"` + text + `"}`), 400, "timestamp.future", "more than 5s ahead"})
	}
	return all
}

func badNumbers() (all []Case) {
	for _, n := range []string{
		"-1", "-0.5", "1.5", "1.0", "1e3", "18446744073709551616", "9999999999999999999999", "-9223372036854775808",
	} {
		all = append(all, Case{agentSet(`{"key":"k","value":1,"expected_version":` + n + `}`), 400, "body.invalid", `"/expected_version"`})
	}
	all = append(all,
		Case{agentSet(`{"key":"k","value":1,"expected_version":1e400}`), 400, "json.invalid", `"/expected_version"`},
		Case{agentDelete(`{"key":"k","expected_version":-1}`), 400, "body.invalid", `"/expected_version"`})
	for _, s := range []string{"lww", "LAST_WRITE_WINS", "timestamp ", "merge", "null", "\\u0041", "'; --"} {
		all = append(all, Case{agentSet(`{"key":"k","value":1,"strategy":"` + s + `"}`), 400, "strategy.unknown", "not one of"})
	}
	return append(all,
		Case{agentSet(`{"key":"k","value":1,"writer":"` + strings.Repeat("w", 129) + `"}`), 400, "writer.invalid", "129"},
		Case{agentSet(`{"key":"k","value":1,"writer":"` + strings.Repeat("é", 65) + `"}`), 400, "writer.invalid", "130"},
		Case{agentSet(`{"key":"k","value":1,"writer":"a\u0000"}`), 400, "json.invalid", `"/writer"`})
}

func badSizes() []Case {
	value := func(n int) string { return `"` + strings.Repeat("v", n-2) + `"` }
	return []Case{
		{agentSet(`{"key":"k","value":` + value(256<<10+1) + `}`), 413, "value.too_large", "262145"},
		{agentSet(`{"key":"k","value":[` + strings.Repeat(" ", 256<<10) + `]}`), 413, "value.too_large", "262146"},
		{agentSet(`{"key":"k","value":1}` + strings.Repeat(" ", 512<<10-20)), 413, "body.too_large", "524289"},
		{agentSet(strings.Repeat("x", 1<<20+1)), 413, "body.too_large", "1048577"},
		{agentSet(strings.Repeat("{", 1<<20)), 413, "body.too_large", "1048576"},
	}
}

func badSubjects() (all []Case) {
	for _, s := range [][2]string{
		{"agents", "set"}, {"Agent", "set"}, {"", ""}, {"*", "set"}, {"$JS", "set"}, {"agent", "Set"}, {"agent", "get"}, {"agent", ""}, {"agent", "*"},
		{"agent", "set "}, {"task", "set"},
	} {
		all = append(all, Case{command(s[0]+".a1."+s[1], `{"key":"k","value":1}`), 404, "command.unknown", "there is no aggregate"})
		if s[0] == "agent" || s[0] == "task" {
			all[len(all)-1].Place = s[0] + " has no verb"
		}
	}
	return all
}

// badMembers are members of the other aggregates' commands.
func badMembers(now time.Time) (all []Case) {
	for _, c := range []struct{ subject, body, code, place string }{
		{"task.t1.create", `{"kind":""}`, "id.invalid", "kind is empty"},
		{"task.t1.create", `{"kind":"a b"}`, "id.invalid", `kind "a b" has ' '`},
		{"task.t1.create", `{"kind":"a.b"}`, "id.invalid", "kind"},
		{"task.t1.create", `{"kind":"k","priority":0}`, "priority.invalid", "1 to 10"},
		{"task.t1.create", `{"kind":"k","priority":11}`, "priority.invalid", "1 to 10"},
		{"task.t1.create", `{"kind":"k","priority":-1}`, "priority.invalid", "1 to 10"},
		{"task.t1.create", `{"kind":"k","priority":1.5}`, "body.invalid", "/priority"},
		{"task.t1.create", `{"kind":"k","priority":"1"}`, "body.invalid", "/priority"},
		{"task.t1.create", `{"kind":"k","priority":9223372036854775808}`, "body.invalid", "/priority"},
		{"task.t1.create", `{"kind":"k","agent_id":"kv"}`, "id.invalid", "reserved"},
		{"task.t1.create", `{"kind":"k","agent_id":"a.b"}`, "id.invalid", "agent id"},
		{"task.t1.create", `{"kind":"k","agent_id":1}`, "body.invalid", "/agent_id"},
		{"task.t1.create", `{"kind":"k","deadline":1780833600}`, "body.invalid", "/deadline"},
		{"task.t1.create", `{"kind":"k","deadline":"` + now.Add(-time.Hour).Format(time.RFC3339) + `"}`, "deadline.past", "not ahead"},
		{"task.t1.create", `{"kind":"k","deadline":"1970-01-01T00:00:00Z"}`, "deadline.past", "not ahead"},
		{"task.t1.start", `{"agent_id":""}`, "id.invalid", "agent id is empty"},
		{"task.t1.start", `{"agent_id":"kv"}`, "id.invalid", "reserved"},
		{"task.t1.start", `{"agent_id":"a>"}`, "id.invalid", "'>'"},
		{"task.t1.progress", `{"percent":101}`, "percent.invalid", "percent"},
		{"task.t1.progress", `{"percent":-0.1}`, "percent.invalid", "percent"},
		{"task.t1.progress", `{"percent":"50"}`, "body.invalid", "/percent"},
		{"task.t1.progress", `{"note":5}`, "body.invalid", "/note"},
		{"task.t1.fail", `{"reason":""}`, "reason.invalid", "reason"},
		{"task.t1.fail", `{"reason":"out of memory"}`, "reason.invalid", `"out of memory"`},
		{"task.t1.fail", `{"reason":"a.b"}`, "reason.invalid", "reason"},
		{"task.t1.fail", `{"reason":"boom*"}`, "reason.invalid", "reason"},
		{"task.t1.fail", `{"reason":">"}`, "reason.invalid", "reason"},
		{"task.t1.fail", `{"reason":"` + strings.Repeat("r", 129) + `"}`, "reason.invalid", "128"},
		{"task.t1.fail", `{"reason":"r","detail":{}}`, "body.invalid", "/detail"},
		{"task.t1.cancel", `{"reason":7}`, "body.invalid", "/reason"},
		{"session.s1.open", `{"owner":""}`, "id.invalid", "owner is empty"},
		{"session.s1.open", `{"owner":"a b"}`, "id.invalid", "owner"},
		{"session.s1.open", `{"owner":"o","ttl":0}`, "ttl.invalid", "ttl"},
		{"session.s1.open", `{"owner":"o","ttl":-1}`, "ttl.invalid", "ttl"},
		{"session.s1.open", `{"owner":"o","ttl":2592001}`, "ttl.invalid", "2592000"},
		{"session.s1.open", `{"owner":"o","ttl":9223372036854775807}`, "ttl.invalid", "2592000"},
		{"session.s1.open", `{"owner":"o","ttl":9223372036854775808}`, "body.invalid", "/ttl"},
		{"session.s1.open", `{"owner":"o","ttl":1e3}`, "body.invalid", "/ttl"},
		{"session.s1.open", `{"owner":"o","ttl":"60"}`, "body.invalid", "/ttl"},
		{"session.s1.put", `{"key":"","value":1}`, "key.invalid", "key is empty"},
		{"session.s1.put", `{"key":"a..b","value":1}`, "key.invalid", "two dots"},
		{"config.a1.set", `{"key":"","value":1}`, "key.invalid", "key is empty"},
		{"config.a1.set", `{"key":"*","value":1}`, "key.invalid", "'*'"},
		{"config.kv.set", `{"key":"k","value":1}`, "id.invalid", "reserved"},
		{"config.a1.set", `{"key":"k","value":1,"expected_version":-1}`, "body.invalid", "/expected_version"},
		{"config.a1.unset", `{"key":"k","value":1}`, "body.unknown_field", "/value"},
		{"config.a1.unset", `{"key":".k"}`, "key.invalid", "begins with a dot"},
		{"message.a1.direct", `{"to":"","body":1}`, "id.invalid", "agent id is empty"},
		{"message.a1.direct", `{"to":"kv","body":1}`, "id.invalid", "reserved"},
		{"message.a1.direct", `{"to":"b.c","body":1}`, "id.invalid", "dot"},
		{"message.a1.direct", `{"to":"b","type":"t","body":1}`, "body.unknown_field", "/type"},
		{"message.a1.broadcast", `{"to":"b","body":1}`, "body.unknown_field", "/to"},
		{"message.a1.broadcast", `{"to":"","body":1}`, "body.unknown_field", "/to"},
		{"message.a1.notify", `{"type":"","body":1}`, "id.invalid", "type is empty"},
		{"message.a1.notify", `{"type":"a.b","body":1}`, "id.invalid", "type"},
		{"message.a1.notify", `{"type":"t","to":"b","body":1}`, "body.unknown_field", "/to"},
		{"message.a1.read", `{"up_to":0}`, "up_to.invalid", "0 is not the mark"},
		{"message.a1.read", `{"up_to":-1}`, "up_to.invalid", "-1"},
		{"message.a1.read", `{"up_to":9223372036854775807}`, "up_to.invalid", "9223372036854775807"},
		{"message.a1.read", `{"up_to":9223372036854775808}`, "body.invalid", "/up_to"},
		{"message.a1.read", `{"up_to":1.5}`, "body.invalid", "/up_to"},
		{"message.a1.read", `{"up_to":"m1"}`, "body.invalid", "/up_to"},
		{"message.a1.read", `{"marks":[]}`, "marks.invalid", "1 to 1000"},
		{"message.a1.read", `{"marks":[` + strings.Repeat("1,", 1000) + `1]}`, "marks.invalid", "these are 1001"},
		{"message.a1.read", `{"marks":[1,0]}`, "marks.invalid", "0 is not the mark"},
		{"message.a1.read", `{"up_to":1,"marks":[9223372036854775807]}`, "marks.invalid", "9223372036854775807"},
		{"message.a1.read", `{"marks":[1,"m1"]}`, "body.invalid", "/marks/1"},
		{"message.a1.read", `{"marks":1}`, "body.invalid", "/marks"},
		{"message.a1.read", `{"up_to":1,"ids":["m1"]}`, "body.unknown_field", "/ids"},
		{"message.kv.read", `{"up_to":1}`, "id.invalid", "reserved"},
		{"agent.a1.hydrate", `{"reason":1}`, "body.invalid", "/reason"},
		{"agent.a1.flush", `{"keys":["k"]}`, "body.unknown_field", "/keys"},
		{"agent.a1.expire", `[]`, "body.invalid", "object"},
		{"agent.a1.retire", `{"reason":"r","reason":"s"}`, "json.invalid", "/reason"},
		{"agent.a1.heartbeat", `{"status":1e309}`, "json.invalid", "/status"},
		{"agent.b1.fork", `{"from":""}`, "id.invalid", "agent id is empty"},
		{"agent.b1.fork", `{"from":"kv"}`, "id.invalid", "reserved"},
		{"agent.b1.fork", `{"from":"a1","at_revision":1,"at_time":"2026-01-01T00:00:00Z"}`, "body.invalid", "exclude"},
		{"agent.b1.fork", `{"from":"a1","at_revision":-1}`, "body.invalid", "/at_revision"},
		{"agent.a1.revert", `{"key":"","to_version":1}`, "key.invalid", "empty"},
		{"agent.a1.revert", `{"key":"a..b","to_version":1}`, "key.invalid", "dot"},
		{"agent.a1.revert", `{"key":null,"to_revision":1}`, "body.invalid", `"/key" (a JSON null)`},
		{"agent.a1.revert", `{"key":7,"to_revision":1}`, "body.invalid", "/key"},
		{"agent.a1.revert", `{"to_version":1}`, "body.invalid", "to_version needs a key"},
		{"agent.a1.revert", `{"key":"k","to_version":0}`, "to_version.invalid", "count from 1"},
		{"agent.a1.revert", `{"key":"k","to_version":-1}`, "body.invalid", "/to_version"},
		{"agent.a1.revert", `{"key":"k","to_version":1.5}`, "body.invalid", "/to_version"},
		{"agent.a1.revert", `{"key":"k","to_version":"1"}`, "body.invalid", "/to_version"},
		{"agent.a1.revert", `{"to_revision":18446744073709551616}`, "body.invalid", "/to_revision"},
		{"agent.a1.revert", `{"key":"k","to_version":1,"to_revision":1}`, "body.invalid", "exclude"},
		{"agent.a1.revert", `{"to_revision":1,"to_time":"2026-01-01T00:00:00Z"}`, "body.invalid", "exclude"},
		{"agent.a1.revert", `{"to_revision":1,"expected_version":1}`, "body.invalid", "expected_version needs a key"},
		{"agent.a1.revert", `{"key":"k","to_version":1,"value":1}`, "body.unknown_field", "/value"},
		{"agent.a1.revert", `{"key":"k","to_version":1,"reason":1}`, "body.invalid", "/reason"},
		{"agent.a1.revert", `{"to_time":"` + now.Add(time.Hour).Format(time.RFC3339) + `"}`, "timestamp.future", "ahead"},
		{"agent.b1.fork", `{"from":"a1","at_time":"` + now.Add(time.Hour).Format(time.RFC3339) + `"}`, "timestamp.future", "ahead"},
	} {
		all = append(all, Case{command(c.subject, c.body), 400, c.code, c.place})
	}
	for _, text := range append([]string{"0001-01-01T00:00:00Z"}, badTimes...) {
		all = append(all,
			Case{command("task.t1.create", `{"kind":"k","deadline":"`+text+`"}`), 400, "timestamp.invalid", "deadline"},
			Case{command("agent.a1.revert", `{"key":"k","to_time":"`+text+`"}`), 400, "timestamp.invalid", "to_time"},
			Case{command("agent.b1.fork", `{"from":"a1","at_time":"`+text+`"}`), 400, "timestamp.invalid", "at_time"})
	}
	for _, c := range [][2]string{
		{"task.*.create", `{"kind":"k"}`}, {"session.*.open", `{"owner":"o"}`}, {"config.*.set", `{"key":"k","value":1}`},
		{"message.*.broadcast", `{"body":1}`}, {"message.*.read", `{"up_to":1}`}, {"agent.*.heartbeat", `{}`}, {"agent.*.expire", `{}`}, {"agent.*.fork", `{"from":"a"}`},
		{"agent.*.revert", `{"to_revision":1}`},
		{"claim.*.acquire", `{"owner":"o"}`}, {"claim.*.renew", `{"owner":"o","fence":1}`}, {"claim.*.release", `{"owner":"o","fence":1}`},
	} {
		for id, place := range map[string]string{"a.b": "2 tokens", "v1.2.3": "3 tokens", "a$b": "'$'", "é": "'é'", strings.Repeat("i", 129): "129"} {
			all = append(all, Case{command(strings.Replace(c[0], "*", id, 1), c[1]), 400, "id.invalid", place})
		}
	}
	return all
}

// badPayloads are values that cannot be stored, in every member that takes one.
func badPayloads() (all []Case) {
	for _, in := range [][3]string{
		{"task.t1.create", `{"kind":"k","payload":`, "/payload"}, {"task.t1.complete", `{"result":`, "/result"}, {"config.a1.set", `{"key":"k","value":`, "/value"},
		{"agent.a1.merge", `{"key":"k","value":`, "/value"}, {"agent.a1.add", `{"key":"k","delta":`, "/delta"}, {"agent.a1.append", `{"key":"k","items":`, "/items"},
		{"session.s1.put", `{"key":"k","value":`, "/value"}, {"message.a1.broadcast", `{"body":`, "/body"}, {"agent.a1.heartbeat", `{"status":`, "/status"},
		{"claim.c1.acquire", `{"owner":"o","data":`, "/data"},
	} {
		for _, value := range []string{
			`"\u0000"`, `{"\u0000":1}`, `"\ud800"`, `"\udc00"`, `{"a":1,"a":1}`, `[{"b":{"c":1,"c":2}}]`, `1e309`, `-1e-309`, strings.Repeat("7", 41), "\"\xff\"",
			strings.Repeat("[", 65) + strings.Repeat("]", 65), strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65),
		} {
			all = append(all, Case{command(in[0], in[1]+value+"}"), 400, "json.invalid", in[2]})
		}
		if strings.Contains("agent.a1.merge agent.a1.add agent.a1.append", in[0]) {
			continue // they do not take a string
		}
		all = append(all, Case{command(in[0], in[1]+`"`+strings.Repeat("v", 256<<10)+`"}`), 413, "value.too_large", "262144"})
	}
	return all
}

// missingMembers lack a required member, or have null for it.
func missingMembers() (all []Case) {
	for _, c := range [][3]string{
		{"agent.a1.set", `{"value":1}`, "key"}, {"agent.a1.set", `{"key":"k"}`, "value"}, {"agent.a1.delete", `{}`, "key"}, {"agent.b1.fork", `{}`, "from"},
		{"agent.b1.fork", `{"from":null}`, "from"}, {"agent.a1.merge", `{"value":{}}`, "key"}, {"agent.a1.merge", `{"key":"k"}`, "value"},
		{"agent.a1.merge", `{"key":"k","value":null}`, "value"}, {"agent.a1.add", `{"delta":1}`, "key"}, {"agent.a1.add", `{"key":"k","min":0}`, "delta"},
		{"agent.a1.revert", `{"key":"k"}`, "to_version, to_revision or to_time"}, {"agent.a1.revert", `{"to_time":""}`, "to_version, to_revision or to_time"},
		{"agent.a1.add", `{"key":"k","delta":null}`, "delta"}, {"agent.a1.append", `{"items":[]}`, "key"}, {"agent.a1.append", `{"key":"k"}`, "items"},
		{"agent.a1.append", `{"key":null,"items":[]}`, "key"}, {"agent.a1.append", `{"key":"k","items":null}`, "items"}, {"task.t1.create", `{}`, "kind"}, {"task.t1.create", `{"kind":null}`, "kind"}, {"task.t1.create", ``, "kind"},
		{"task.t1.start", `{}`, "agent_id"}, {"task.t1.start", `{"agent_id":null}`, "agent_id"}, {"task.t1.fail", `{}`, "reason"},
		{"task.t1.fail", `{"detail":"d"}`, "reason"}, {"task.t1.fail", `{"reason":null}`, "reason"}, {"session.s1.open", `{}`, "owner"},
		{"session.s1.open", `{"ttl":60}`, "owner"}, {"session.s1.open", `{"owner":null}`, "owner"}, {"session.s1.put", `{"value":1}`, "key"},
		{"session.s1.put", `{"key":"k"}`, "value"}, {"session.s1.put", `{"key":null,"value":1}`, "key"}, {"config.a1.set", `{"value":1}`, "key"},
		{"config.a1.set", `{"key":"k"}`, "value"}, {"config.a1.unset", `{}`, "key"}, {"message.a1.direct", `{"body":1}`, "to"},
		{"message.a1.direct", `{"to":null,"body":1}`, "to"}, {"message.a1.direct", `{"to":"b"}`, "body"}, {"message.a1.broadcast", `{}`, "body"}, {"message.a1.read", `{}`, "up_to or marks"}, {"message.a1.read", `{"up_to":null,"marks":null}`, "up_to or marks"},
		{"claim.c1.acquire", `{}`, "owner"}, {"claim.c1.acquire", `{"owner":null,"lease_ms":1}`, "owner"}, {"claim.c1.renew", `{"fence":1}`, "owner"},
		{"claim.c1.renew", `{"owner":"o"}`, "fence"}, {"claim.c1.renew", `{"owner":"o","fence":null}`, "fence"}, {"claim.c1.release", `{"fence":1}`, "owner"},
		{"claim.c1.release", `{"owner":"o"}`, "fence"}, {"claim.c1.release", ``, "owner"},
		{"message.a1.notify", `{"body":1}`, "type"}, {"message.a1.notify", `{"type":"t"}`, "body"}, {"message.a1.notify", `{"type":null,"body":1}`, "type"},
	} {
		all = append(all, Case{command(c[0], c[1]), 400, "body.missing_field", fmt.Sprintf("%q is missing", c[2])})
	}
	for subject, body := range map[string]string{
		"task.t1.create": `{"kind":"k",`, "task.t1.start": `{"agent_id":"a",`, "task.t1.progress": `{`, "task.t1.complete": `{`, "task.t1.fail": `{"reason":"r",`,
		"task.t1.cancel": `{`, "session.s1.open": `{"owner":"o",`, "session.s1.put": `{"key":"k","value":1,`, "session.s1.touch": `{`, "session.s1.close": `{`,
		"config.a1.set": `{"key":"k","value":1,`, "config.a1.unset": `{"key":"k",`, "message.a1.direct": `{"to":"b","body":1,`, "message.a1.broadcast": `{"body":1,`,
		"message.a1.notify": `{"type":"t","body":1,`, "message.a1.read": `{"up_to":1,`, "agent.a1.hydrate": `{`, "agent.a1.flush": `{`, "agent.a1.expire": `{`, "agent.a1.retire": `{`,
		"agent.a1.heartbeat": `{`, "agent.b1.fork": `{"from":"a",`, "agent.a1.merge": `{"key":"k","value":{},`, "agent.a1.add": `{"key":"k","delta":1,`,
		"agent.a1.append": `{"key":"k","items":[],`, "agent.a1.revert": `{"key":"k","to_version":1,`, "claim.c1.acquire": `{"owner":"o",`, "claim.c1.renew": `{"owner":"o","fence":1,`, "claim.c1.release": `{"owner":"o","fence":1,`,
	} {
		all = append(all, Case{command(subject, body+`"nope":1}`), 400, "body.unknown_field", `"/nope"`},
			Case{command(subject, body+`"nope":1,"nope":2}`), 400, "json.invalid", `"/nope"`})
	}
	return all
}

// badComputations are bodies of the verbs that compute.
func badComputations() (all []Case) {
	for _, c := range []struct{ subject, body, code, place string }{
		{"agent.a1.merge", `"value":[]`, "body.invalid", `"/value" (a JSON [): must be an object`},
		{"agent.a1.merge", `"value":"{}"`, "body.invalid", "must be an object"},
		{"agent.a1.merge", `"value":1`, "body.invalid", "must be an object"},
		{"agent.a1.add", `"delta":"1"`, "body.invalid", `"/delta" (a JSON string): must be a number`},
		{"agent.a1.add", `"delta":[1]`, "body.invalid", "must be a number"},
		{"agent.a1.add", `"delta":true`, "body.invalid", "must be a number"},
		{"agent.a1.add", `"delta":1,"min":"0"`, "body.invalid", `"/min"`},
		{"agent.a1.add", `"delta":1,"max":{}`, "body.invalid", `"/max"`},
		{"agent.a1.add", `"delta":1,"max":1e309`, "json.invalid", `"/max"`},
		{"agent.a1.add", `"delta":1,"min":0.2,"max":0.1`, "range.invalid", "min 0.2 is greater than max 0.1"},
		{"agent.a1.append", `"items":{}`, "body.invalid", `"/items" (a JSON {): must be an array`},
		{"agent.a1.append", `"items":"x"`, "body.invalid", "must be an array"},
		{"agent.a1.append", `"items":[],"max_items":0`, "max_items.invalid", "1 or more"},
		{"agent.a1.append", `"items":[],"max_items":-1`, "body.invalid", "/max_items"},
		{"agent.a1.append", `"items":[],"max_items":1.5`, "body.invalid", "/max_items"},
		{"agent.a1.append", `"items":[],"max_items":"1"`, "body.invalid", "/max_items"},
	} {
		all = append(all, Case{command(c.subject, `{"key":"k",`+c.body+`}`), 400, c.code, c.place})
	}
	for subject, operand := range map[string]string{"agent.a1.merge": `"value":{}`, "agent.a1.add": `"delta":1`, "agent.a1.append": `"items":[]`} {
		for _, c := range [][3]string{
			{`"key":"a b"`, "key.invalid", "' '"}, {`"key":1`, "body.invalid", "/key"}, {`"key":"k","expected_version":-1`, "body.invalid", "/expected_version"},
			{`"key":"k","writer":7`, "body.invalid", "/writer"}, {`"key":"k","writer":"` + strings.Repeat("w", 129) + `"`, "writer.invalid", "129"},
			{`"key":"k","strategy":"reject"`, "body.unknown_field", "/strategy"}, {`"key":"k","timestamp":"2026-01-01T00:00:00Z"`, "body.unknown_field", "/timestamp"},
		} {
			all = append(all, Case{command(subject, "{"+c[0]+","+operand+"}"), 400, c[1], c[2]})
		}
		all = append(all, Case{command(strings.Replace(subject, "a1", "kv", 1), `{"key":"k",`+operand+`}`), 400, "id.invalid", "reserved"})
	}
	large := strings.Repeat("v", 256<<10)
	return append(all,
		Case{command("agent.a1.merge", `{"key":"k","value":{"a":"`+large+`"}}`), 413, "value.too_large", "262152"},
		Case{command("agent.a1.append", `{"key":"k","items":["`+large+`"]}`), 413, "value.too_large", "262148"})
}
