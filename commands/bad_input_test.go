package commands_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
)

// bad is a request that must be refused with a status and a code, with the place
// in the message, and without an event.
type bad struct {
	commands.Request
	status int
	code   string
	place  string
}

func agentSet(body string) commands.Request {
	return commands.Request{Aggregate: "agent", ID: "a1", Verb: "set", Body: []byte(body)}
}

func agentDelete(body string) commands.Request {
	return commands.Request{Aggregate: "agent", ID: "a1", Verb: "delete", Body: []byte(body)}
}

func TestBadInput(t *testing.T) {
	var corpus []bad
	for _, part := range [][]bad{
		badNames(), badKeys(), badCommandIDs(), badBodies(), badValues(), badFields(), badTypes(), badTimestamps(),
		badNumbers(), badSizes(), badSubjects(), badOthers(),
	} {
		corpus = append(corpus, part...)
	}
	t.Logf("%d cases", len(corpus))
	if len(corpus) < 200 {
		t.Errorf("%d cases are fewer than promised", len(corpus))
	}
	for _, c := range corpus {
		receipt, appended, err := handle(t, c.Request)
		what := fmt.Sprintf("%s.%.40q.%s %.40q %.120q", c.Aggregate, c.ID, c.Verb, c.CommandID, c.Body)
		var e *domain.Error
		switch {
		case !errors.As(err, &e):
			t.Errorf("%s: taken with %+v, %v", what, receipt, err)
		case e.Kind.Status() != c.status || e.Code != c.code || !strings.Contains(e.Message, c.place):
			t.Errorf("%s: %d %s naming %q expected, got %d %v", what, c.status, c.code, c.place, e.Kind.Status(), e)
		case len(e.Message) > 1024:
			t.Errorf("%s: the message has %d bytes", what, len(e.Message))
		}
		if len(appended) > 0 {
			t.Errorf("%s: appended %s", what, appended[0].Encode())
		}
	}
}

func badNames() (all []bad) {
	for id, place := range map[string]string{
		"": "0", strings.Repeat("i", 129): "129", strings.Repeat("i", 5000): "5000", "*": "'*'", ">": "'>'", "a*": "'*'", "a.b": "'.'",
		".": "'.'", "..": "'.'", "a b": "' '", "a\tb": `'\t'`, "a\nb": `'\n'`, "a\r\nNats-Rollup: all": `'\r'`, "a\x00": `'\x00'`,
		"a\x7f": `'\x7f'`, "$JS": "'$'", "$KV": "'$'", "$SYS": "'$'", "a$": "'$'", "é": "byte 0", "a\xff": "byte 1", "😀": "byte 0",
		"a:b": "':'", "a/b": "'/'", "a=b": "'='", "'; DROP TABLE agents.state; --": `'\''`, `"`: `'"'`, `a\b`: `'\\'`, "a%20b": "'%'",
		"{{.}}": "'{'", "kv": "reserved",
	} {
		req := agentSet(`{"key":"k","value":1}`)
		req.ID = id
		all = append(all, bad{req, 400, "id.invalid", place})
	}
	return all
}

func badKeys() (all []bad) {
	for key, place := range map[string]string{
		``: "missing", `.`: "byte 0", `..`: "byte 0", `.a`: "byte 0", `a.`: "ends with a dot", `a..b`: "byte 2", `*`: "'*'", `a.*`: "'*'",
		`>`: "'>'", `a.>`: "'>'", `a b`: "' '", `a:b`: "':'", `agent:a1`: "':'", `$JS.API.STREAM.PURGE.EVENTS`: "'$'", `$KV.B.k`: "'$'",
		`a\tb`: `'\t'`, `a\nb`: `'\n'`, `a\u007fb`: `'\x7f'`, `é`: "byte 0", `a\u00e9`: "byte 1", `😀`: "byte 0", `a\\b`: `'\\'`,
		`a\"b`: `'"'`, `a'b`: `'\''`, `a;b`: "';'", `a,b`: "','", `a%b`: "'%'", `../../etc/passwd`: "byte 0", `a?b`: "'?'", `a#b`: "'#'",
		strings.Repeat("k", 256): "256", strings.Repeat("k", 2705): "2705", strings.Repeat("k.", 128): "256",
		strings.Repeat("k.", 127) + ".": "byte 254",
	} {
		all = append(all, bad{agentSet(`{"key":"` + key + `","value":1}`), 400, "key.invalid", place})
	}
	return append(all,
		bad{agentDelete(`{"key":"a b"}`), 400, "key.invalid", "' '"},
		bad{agentDelete(`{}`), 400, "key.invalid", `"key" is missing`},
		bad{agentSet(`{"value":1}`), 400, "key.invalid", `"key" is missing`},
		bad{agentSet(`{"key":null,"value":1}`), 400, "key.invalid", `"key" is missing`},
	)
}

func badCommandIDs() (all []bad) {
	for id, place := range map[string]string{
		strings.Repeat("c", 129): "command id must have 1 to 128", "a.b": "'.'", "a b": "' '", "*": "'*'", ">": "'>'", "é": "byte 0",
		"c\r\nNats-Expected-Stream: X": `'\r'`, "c\x00": `'\x00'`, "$JS": "'$'", "a/b": "'/'", "{6ba7b810-9dad-11d1-80b4-00c04fd430c8}": "'{'",
	} {
		req := agentSet(`{"key":"k","value":1}`)
		req.CommandID = id
		all = append(all, bad{req, 400, "id.invalid", place})
	}
	for _, id := range []string{
		ulidAt(noon.Add(5*time.Second + time.Millisecond)), ulidAt(noon.Add(time.Hour)), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
		uuid7At(noon.Add(5*time.Second + time.Millisecond)), uuid7At(noon.Add(24 * time.Hour)), "ffffffff-ffff-7fff-bfff-ffffffffffff",
	} {
		req := agentSet(`{"key":"k","value":1}`)
		req.CommandID = id
		all = append(all, bad{req, 400, "command.id_future", "ahead of 2026-06-07T12:00:00Z"})
	}
	return all
}

func ulidAt(t time.Time) string {
	return ulid.MustNew(ulid.Timestamp(t), strings.NewReader("0123456789")).String()
}

func uuid7At(t time.Time) string {
	ms := fmt.Sprintf("%012x", t.UnixMilli())
	return ms[:8] + "-" + ms[8:] + "-7123-8123-0123456789ab"
}

// badBodies are not JSON, or not one object.
func badBodies() (all []bad) {
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
		all = append(all, bad{agentSet(body), 400, "json.invalid", place})
	}
	for body, place := range map[string]string{
		`[]`: "must be a JSON object", `[{"key":"k","value":1}]`: "must be a JSON object", `"k"`: "must be a JSON object",
		`1`: "must be a JSON object", `true`: "must be a JSON object",
	} {
		all = append(all, bad{agentSet(body), 400, "body.invalid", place})
	}
	return append(all,
		bad{agentSet(``), 400, "body.missing_field", `"value" is missing`},
		bad{agentSet(`{}`), 400, "body.missing_field", `"value" is missing`},
		bad{agentSet(`null`), 400, "body.missing_field", `"value" is missing`},
		bad{agentSet(`{"key":"k"}`), 400, "body.missing_field", `"value" is missing`},
	)
}

// badValues are values that KV and SQL cannot store unchanged.
func badValues() (all []bad) {
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
		all = append(all, bad{agentSet(`{"key":"k","value":` + value + `}`), 400, "json.invalid", place})
	}
	return all
}

func badFields() (all []bad) {
	for _, field := range []string{
		"Key", "KEY", "val", "Value", "ttl", "expectedVersion", "expected-version", "version", "agent_id", "__proto__", "id", "command_id", "", " key",
	} {
		all = append(all,
			bad{agentSet(`{"key":"k","value":1,"` + field + `":1}`), 400, "body.unknown_field", `"/` + field + `"`},
			bad{agentDelete(`{"key":"k","` + field + `":1}`), 400, "body.unknown_field", `"/` + field + `"`})
	}
	for _, value := range []string{"1", "null", "{}"} {
		all = append(all, bad{agentDelete(`{"key":"k","value":` + value + `}`), 400, "body.unknown_field", `"/value"`})
	}
	return all
}

func badTypes() (all []bad) {
	for field, values := range map[string][]string{
		"key": {"1", "true", "{}", "[]", `["k"]`}, "strategy": {"1", "false", "{}", `["reject"]`}, "writer": {"1", "true", "{}", "[]"},
		"timestamp": {"1780833600", "1.5", "true", "{}", "[]"}, "expected_version": {`"1"`, "true", "{}", "[1]", `""`},
	} {
		for _, value := range values {
			body := `{"value":1,"` + field + `":` + value + `}`
			all = append(all, bad{agentSet(body), 400, "body.invalid", `"/` + field + `"`},
				bad{agentDelete(strings.Replace(body, `"value":1,`, "", 1)), 400, "body.invalid", `"/` + field + `"`})
		}
	}
	return all
}

func badTimestamps() (all []bad) {
	for _, text := range []string{
		"now", "2026", "2026-06-07", "12:00:00Z", "2026-06-07 12:00:00Z", "2026-06-07T12:00:00", "2026-06-07T12:00Z",
		"2026-06-07T12:00:00.Z", "2026-06-31T12:00:00Z", "2025-02-29T12:00:00Z", "2026-13-01T12:00:00Z",
		"2026-06-07T24:00:00Z", "2026-06-07T12:60:00Z", "2026-06-07T12:00:61Z", "2026-06-07T12:00:00+25:00", "2026-06-07T12:00:00+0100",
		"2026-06-07T12:00:00 UTC", "-2026-06-07T12:00:00Z", "02026-06-07T12:00:00Z", "10000-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00",
		"0000-06-07T12:00:00Z", "0001-01-01T00:00:00+01:00", "0001-01-01T00:00:00Z", "1780833600", " 2026-06-07T11:00:00Z",
		"2026-06-07T11:00:00Z ", "2026-06-07T11:00:00Zz", "２０２６-06-07T11:00:00Z", strings.Repeat("2", 10_000),
	} {
		all = append(all, bad{agentSet(`{"key":"k","value":1,"timestamp":"` + text + `"}`), 400, "timestamp.invalid", "RFC 3339"})
	}
	for _, text := range []string{
		"2026-06-07T12:00:05.000000001Z", "2026-06-07T12:00:06Z", "2026-06-07T13:00:00Z", "2026-06-07T14:00:06+02:00", "2027-01-01T00:00:00Z",
		"9999-12-31T23:59:59.999999999Z",
	} {
		all = append(all, bad{agentSet(`{"key":"k","value":1,"timestamp":"` + text + `"}`), 400, "timestamp.future", text},
			bad{agentDelete(`{"key":"k","timestamp":"` + text + `"}`), 400, "timestamp.future", text})
	}
	return all
}

func badNumbers() (all []bad) {
	for _, n := range []string{
		"-1", "-0.5", "1.5", "1.0", "1e3", "18446744073709551616", "9999999999999999999999", "-9223372036854775808",
	} {
		all = append(all, bad{agentSet(`{"key":"k","value":1,"expected_version":` + n + `}`), 400, "body.invalid", `"/expected_version"`})
	}
	all = append(all,
		bad{agentSet(`{"key":"k","value":1,"expected_version":1e400}`), 400, "json.invalid", `"/expected_version"`},
		bad{agentDelete(`{"key":"k","expected_version":-1}`), 400, "body.invalid", `"/expected_version"`})
	for _, s := range []string{"lww", "LAST_WRITE_WINS", "timestamp ", "merge", "null", "\\u0041", "'; --"} {
		all = append(all, bad{agentSet(`{"key":"k","value":1,"strategy":"` + s + `"}`), 400, "strategy.unknown", "not one of"})
	}
	return append(all,
		bad{agentSet(`{"key":"k","value":1,"writer":"` + strings.Repeat("w", 129) + `"}`), 400, "writer.invalid", "129"},
		bad{agentSet(`{"key":"k","value":1,"writer":"` + strings.Repeat("é", 65) + `"}`), 400, "writer.invalid", "130"},
		bad{agentSet(`{"key":"k","value":1,"writer":"a\u0000"}`), 400, "json.invalid", `"/writer"`})
}

func badSizes() []bad {
	value := func(n int) string { return `"` + strings.Repeat("v", n-2) + `"` }
	return []bad{
		{agentSet(`{"key":"k","value":` + value(256<<10+1) + `}`), 413, "value.too_large", "262145"},
		{agentSet(`{"key":"k","value":[` + strings.Repeat(" ", 256<<10) + `]}`), 413, "value.too_large", "262146"},
		{agentSet(`{"key":"k","value":1}` + strings.Repeat(" ", 512<<10-20)), 413, "body.too_large", "524289"},
		{agentSet(strings.Repeat("x", 1<<20+1)), 413, "body.too_large", "1048577"},
		{agentSet(strings.Repeat("{", 1<<20)), 413, "body.too_large", "1048576"},
	}
}

func badSubjects() (all []bad) {
	for _, s := range [][2]string{
		{"agents", "set"}, {"Agent", "set"}, {"", ""}, {"*", "set"}, {"$JS", "set"}, {"agent", "Set"}, {"agent", "get"}, {"agent", ""}, {"agent", "*"},
		{"agent", "set "}, {"task", "set"},
	} {
		req := agentSet(`{"key":"k","value":1}`)
		req.Aggregate, req.Verb = s[0], s[1]
		all = append(all, bad{req, 404, "command.unknown", "there is no aggregate"})
		if s[0] == "agent" || s[0] == "task" {
			all[len(all)-1].place = s[0] + " has no verb"
		}
	}
	return all
}

// badOthers are bad requests to other aggregates.
func badOthers() []bad {
	task := func(id, verb, body string) commands.Request {
		return commands.Request{Aggregate: "task", ID: id, Verb: verb, Body: []byte(body)}
	}
	return []bad{
		{task("t.1", "create", `{"kind":"k"}`), 400, "id.invalid", "task id"},
		{task("t1", "create", `{}`), 400, "id.invalid", "kind"},
		{task("t1", "create", `{"kind":"k","priority":0}`), 400, "priority.invalid", "1 to 10"},
		{task("t1", "create", `{"kind":"k","priority":11}`), 400, "priority.invalid", "1 to 10"},
		{task("t1", "create", `{"kind":"k","agent_id":"kv"}`), 400, "id.invalid", "reserved"},
		{task("t1", "create", `{"kind":"k","deadline":"2026-06-07"}`), 400, "timestamp.invalid", "deadline"},
		{task("t1", "create", `{"kind":"k","payload":{"a":1,"a":2}}`), 400, "json.invalid", "/payload/a"},
		{task("t1", "fail", `{"reason":"out of memory"}`), 400, "reason.invalid", "reason"},
		{task("t1", "fail", `{"reason":"a.b"}`), 400, "reason.invalid", "reason"},
		{task("t1", "fail", `{"reason":"boom*"}`), 400, "reason.invalid", "reason"},
		{task("t1", "fail", `{}`), 400, "reason.invalid", "reason"},
		{task("t1", "progress", `{"percent":101}`), 400, "percent.invalid", "percent"},
	}
}
