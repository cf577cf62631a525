package badinput

import (
	"strings"
	"time"
)

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

// badComputations are bodies of the verbs that compute.
func badComputations() (all []Case) {
	for _, c := range []struct{ subject, body, code, place string }{
		{"agent.a1.merge", `"value":[]`, "body.invalid", `"/value" (a JSON array): must be an object`},
		{"agent.a1.merge", `"value":"{}"`, "body.invalid", "must be an object"},
		{"agent.a1.merge", `"value":1`, "body.invalid", "must be an object"},
		{"agent.a1.add", `"delta":"1"`, "body.invalid", `"/delta" (a JSON string): must be a number`},
		{"agent.a1.add", `"delta":[1]`, "body.invalid", "must be a number"},
		{"agent.a1.add", `"delta":true`, "body.invalid", "must be a number"},
		{"agent.a1.add", `"delta":1,"min":"0"`, "body.invalid", `"/min"`},
		{"agent.a1.add", `"delta":1,"max":{}`, "body.invalid", `"/max"`},
		{"agent.a1.add", `"delta":1,"max":1e309`, "json.invalid", `"/max"`},
		{"agent.a1.add", `"delta":1,"min":0.2,"max":0.1`, "range.invalid", "min 0.2 is greater than max 0.1"},
		{"agent.a1.append", `"items":{}`, "body.invalid", `"/items" (a JSON object): must be an array`},
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
