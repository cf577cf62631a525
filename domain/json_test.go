package domain_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidemark-engine/tidemark/domain"
)

func nested(depth int, inner string) string {
	return strings.Repeat("[", depth) + inner + strings.Repeat("]", depth)
}

var goodJSON = []string{
	`{}`, `[]`, `""`, `0`, `-0`, `1.50`, `null`, `true`, `false`, " \t\r\n{ } \n", `"é€😀"`, `"\ud83d\ude00"`, `"\u0001"`,
	`{"a":1,"A":2,"":3}`, `{"a":{"a":{"a":1}}}`, `[{"a":1},{"a":1}]`, `"\"\\\/\b\f\n\r\t"`, "\"\u2028\uffff\"", `"\\u0000"`,
	`1e308`, `1E+308`, `1e-308`, `9e308`, `0e0`, `123456789012345678901234567890`, strings.Repeat("9", 40),
	"-" + strings.Repeat("9", 40), "0." + strings.Repeat("1", 39), strings.Repeat("9", 40) + "e308", `1e00000000000000000000308`,
	nested(domain.MaxDepth, `1`), nested(domain.MaxDepth+1, `1`),
	strings.Repeat(`{"a":`, domain.MaxDepth+1) + `1` + strings.Repeat(`}`, domain.MaxDepth+1),
}

func TestGoodJSON(t *testing.T) {
	for _, good := range goodJSON {
		if err := domain.CheckJSON([]byte(good)); err != nil {
			t.Errorf("%.80q: %v", good, err)
		}
	}
}

// badJSON maps a text to what its refusal must name.
var badJSON = map[string]string{
	``:                                    "not JSON",
	" \n":                                 "not JSON",
	`{`:                                   "(byte 1)",
	`{"a":1`:                              `(byte 6)`,
	`[1,]`:                                "(byte 2)",
	`{"a":1,}`:                            `(byte 6)`,
	`{a:1}`:                               "(byte 1)",
	`{'a':1}`:                             "(byte 1)",
	`nul`:                                 "(byte 3)",
	`tru`:                                 "byte",
	`NaN`:                                 "(byte 0)",
	`Infinity`:                            "(byte 0)",
	`+1`:                                  "(byte 0)",
	`01`:                                  "more than one",
	`1.`:                                  "unexpected EOF",
	`.5`:                                  "(byte 0)",
	`1e`:                                  "unexpected EOF",
	`0x10`:                                "(byte 1)",
	`"a`:                                  "byte",
	"\"a\nb\"":                            "(byte 2)",
	"\"a\tb\"":                            "(byte 2)",
	"\"\x00\"":                            "(byte 1)",
	`"\x41"`:                              "(byte 1)",
	`"\u12"`:                              "(byte 1)",
	`// c` + "\n1":                        "(byte 0)",
	`/* c */ 1`:                           "(byte 0)",
	"\ufeff{}":                            "(byte 0)",
	`{} {}`:                               "more than one",
	`[] []`:                               "more than one",
	`[][`:                                 "more than one",
	`1 2`:                                 "more than one",
	`"a" "b"`:                             "more than one",
	`null null`:                           "more than one",
	`{} x`:                                "(byte 3)",
	`{}}`:                                 "(byte 2)",
	`1,2`:                                 "(byte 1)",
	"{}\x00":                              "(byte 2)",
	`"\u0000"`:                            `\u0000 cannot be stored`,
	`{"a":["x\u0000"]}`:                   `at "/a/0"`,
	`{"a\u0000":1}`:                       `\u0000 cannot be stored`,
	`"\ud800"`:                            "(byte 1)",
	`"\udc00"`:                            "(byte 1)",
	`"\ud800\ud800"`:                      "(byte 1)",
	`"\ud800x"`:                           "(byte 1)",
	`{"\udfff":1}`:                        "(byte 2)",
	"\"\xff\"":                            "(byte 1)",
	"\"\xc0\x80\"":                        "(byte 1)",
	"\"\xed\xa0\x80\"":                    "(byte 1)",
	"\"\xf4\x90\x80\x80\"":                "(byte 1)",
	"\"\xe2\x82\"":                        "(byte 1)",
	"{\"\xff\":1}":                        "(byte 2)",
	`{"a":1,"a":2}`:                       `at "/a" (byte 7)`,
	`{"a":1,"\u0061":2}`:                  `at "/a" (byte 7)`,
	`[{"b":{"c":1,"d":2,"c":3}}]`:         `at "/0/b/c"`,
	`1e309`:                               "exponent beyond ±308",
	`1e-309`:                              "exponent beyond ±308",
	`1e999999`:                            "exponent beyond ±308",
	`1e99999999999999999999`:              "exponent beyond ±308",
	`[0,{"n":-1E+309}]`:                   `at "/1/n"`,
	strings.Repeat("9", 41):               "more than 40 digits",
	"-0." + strings.Repeat("0", 41):       "more than 40 digits",
	"[" + strings.Repeat("1", 4096) + "]": `at "/0"`,
	nested(domain.MaxDepth+2, ``):         "nested deeper than 64",
	nested(domain.MaxDepth+2, `1`):        "(byte 66)",
	strings.Repeat(`[`, 100_000):          "nested deeper than 64",
	strings.Repeat(`{"a":`, 100_000):      "nested deeper than 64",
	strings.Repeat(`[{"a":`, 33) + `1` + strings.Repeat(`}]`, 33): "nested deeper than 64",
}

func TestBadJSON(t *testing.T) {
	for bad, place := range badJSON {
		err := domain.CheckJSON([]byte(bad))
		if err == nil || !strings.Contains(err.Error(), place) {
			t.Errorf("%.60q: %q is not in: %v", bad, place, err)
			continue
		}
		refused(t, err, "json.invalid", "")
	}
}

func FuzzCheckJSON(f *testing.F) {
	for _, s := range goodJSON {
		f.Add([]byte(s))
	}
	for s := range badJSON {
		if len(s) < 5000 {
			f.Add([]byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := string(body)
		err := domain.CheckJSON(body)
		if string(body) != before {
			t.Fatal("the input was changed")
		}
		if err != nil {
			refused(t, err, "json.invalid", "")
			return
		}
		if !json.Valid(body) {
			t.Errorf("taken, but encoding/json does not: %q", body)
		}
		if !utf8.Valid(body) {
			t.Errorf("taken, but not UTF-8: %q", body)
		}
	})
}

type form struct {
	Key     string   `json:"key"`
	Version *uint64  `json:"version"`
	Tags    []string `json:"tags"`
}

func TestBodies(t *testing.T) {
	var in form
	if err := domain.DecodeBody([]byte(`{"key":"k","version":18446744073709551615,"tags":["a"]}`), &in); err != nil {
		t.Fatal(err)
	}
	if in.Key != "k" || *in.Version != 1<<64-1 || len(in.Tags) != 1 {
		t.Errorf("read as %+v", in)
	}
	if err := domain.DecodeBody(nil, &form{}); err != nil {
		t.Errorf("an empty body is {}: %v", err)
	}
	for body, want := range map[string][2]string{
		`{"nope":1}`:                       {"body.unknown_field", `"/nope"`},
		`{"Key":"k"}`:                      {"body.unknown_field", `"/Key"`},
		`{"key":1}`:                        {"body.invalid", `"/key" (a JSON number)`},
		`{"key":{}}`:                       {"body.invalid", `"/key" (a JSON`},
		`{"tags":["a",2]}`:                 {"body.invalid", `"/tags/1"`},
		`{"tags":"a"}`:                     {"body.invalid", `"/tags"`},
		`{"version":-1}`:                   {"body.invalid", `"/version"`},
		`{"version":1.0}`:                  {"body.invalid", `"/version"`},
		`{"version":1e3}`:                  {"body.invalid", `"/version"`},
		`{"version":"1"}`:                  {"body.invalid", `"/version"`},
		`{"version":18446744073709551616}`: {"body.invalid", `"/version"`},
		`[]`:                               {"body.invalid", "must be a JSON object"},
		`"x"`:                              {"body.invalid", "must be a JSON object"},
		`{"key":"a","key":"b"}`:            {"json.invalid", `"/key"`},
		`{} {}`:                            {"json.invalid", "more than one"},
	} {
		refused(t, domain.DecodeBody([]byte(body), &form{}), want[0], want[1])
	}
}
