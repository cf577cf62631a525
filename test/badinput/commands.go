// Package badinput has requests that must be refused, each with its status, its code
// and a part of the message that names the place. Every door of the engine gives the
// same verdict.
package badinput

import (
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
