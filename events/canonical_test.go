package events_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/tidemark-engine/tidemark/events"
)

// canonical is RFC 8785 written from its text, on encoding/json alone, to hold
// against what the package computes with another library.
func canonical(t testing.TB, doc []byte) []byte {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", doc, err)
	}
	var b bytes.Buffer
	write(&b, v)
	return b.Bytes()
}

func write(b *bytes.Buffer, v any) {
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case json.Number:
		b.WriteString(number(v))
	case string:
		quote(b, v)
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			write(b, e)
		}
		b.WriteByte(']')
	case map[string]any:
		b.WriteByte('{')
		for i, name := range sorted(v) {
			if i > 0 {
				b.WriteByte(',')
			}
			quote(b, name)
			b.WriteByte(':')
			write(b, v[name])
		}
		b.WriteByte('}')
	}
}

// sorted are the names by their UTF-16 code units (RFC 8785, section 3.2.3).
func sorted(m map[string]any) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
	})
	return names
}

// number is ECMAScript's Number::toString; what overflows is the greatest double.
func number(n json.Number) string {
	f, err := strconv.ParseFloat(string(n), 64)
	if err != nil {
		f = math.Copysign(math.MaxFloat64, f)
	}
	if f == 0 {
		return "0"
	}
	if a := math.Abs(f); a >= 1e-6 && a < 1e21 {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	return mantissa + "e" + exponent[:1] + strings.TrimLeft(exponent[1:], "0")
}

func quote(b *bytes.Buffer, s string) {
	short := map[rune]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`}
	b.WriteByte('"')
	for _, r := range s {
		switch esc, ok := short[r]; {
		case ok:
			b.WriteString(esc)
		case r < 0x20:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}

// The examples of RFC 8785, sections 3.2.2 and 3.2.3 and appendix B.
func TestTheIndependentCanonicalFormIsTheRFCs(t *testing.T) {
	for in, want := range map[string]string{
		`{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],` +
			`"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}`: `{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],` +
			`"string":"€$\u000f\nA'B\"\\\\\"/"}`,
		`{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",` +
			`"\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}`: "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\"," +
			"\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\ufb33\":\"Hebrew Letter Dalet With Dagesh\"}",
		`[-0,5e-324,1.7976931348623157e308,9007199254740992,295147905179352830000,9.999999999999997e22,1e23,` +
			`999999999999999700000,1e21,0.000001,1e-7,-1e-7]`: `[0,5e-324,1.7976931348623157e+308,9007199254740992,295147905179352830000,9.999999999999997e+22,1e+23,` +
			`999999999999999700000,1e+21,0.000001,1e-7,-1e-7]`,
	} {
		if got := string(canonical(t, []byte(in))); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
}

// Data that only looks like what Encode writes is read as what it is.
func TestDataOfOtherWriters(t *testing.T) {
	for data, value := range map[string]string{
		`{"value":"v","strategy":"s","request":"r"}`:                                            `"v"`,
		`{"value":1,"a":2,"strategy":"s","request":"r"}`:                                        `1`,
		`{"value":{"strategy":"x","request":"y"},"strategy":"s","request":"r"}`:                 `{"strategy":"x","request":"y"}`,
		`{"value":"\",\"strategy\":\"x\",\"request\":\"y","strategy":"s","request":"r"}`:        `"\",\"strategy\":\"x\",\"request\":\"y"`,
		`{"value":[1,{"b":1.50,"a":1E2}],"strategy":"s","request":"r"}`:                         `[1,{"b":1.50,"a":1E2}]`,
		`{"value": "v" ,"strategy":"s", "request":"r"}`:                                         `"v"`,
		`{"value":"v","strategy":"s","request":"r","z":{"strategy":"n","request":"m"}}`:         `"v"`,
		`{"value":0,"z":{"value":1,"strategy":"n","request":"m"},"strategy":"s","request":"r"}`: `0`,
	} {
		ev := events.Event{Type: "t", Aggregate: "agent", ID: "a", Version: 1, Timestamp: when, RecordedAt: when, Data: []byte(data), Schema: 1}
		digest, err := events.Chain("", &ev)
		if want := chained(t, "", ev.Encode()); err != nil || digest != want {
			t.Errorf("%s: the digest is %s, %v; want %s", data, digest, err, want)
		}
		w, err := events.DecodeStateWrite([]byte(data))
		if err != nil || strings.TrimSpace(string(w.Value)) != value || w.Strategy != "s" || w.Request != "r" {
			t.Errorf("%s is read as %s, %+v, %v", data, w.Value, w, err)
		}
	}
	for _, torn := range []string{`{"value":"v,"strategy":"s","request":"r"}`, `{"value":,"strategy":"s","request":"r"}`, `{"value":1,"value":2,"strategy":"s","request":"r"}`} {
		if w, err := events.DecodeStateWrite([]byte(torn)); err == nil {
			t.Errorf("%s is read as %+v", torn, w)
		}
		if _, err := events.Chain("", &events.Event{Data: []byte(torn)}); err == nil {
			t.Errorf("%s has a digest", torn)
		}
	}
}
