package domain_test

import (
	"bytes"
	"testing"

	"github.com/tidemark-engine/tidemark/domain"
)

func TestEqualJSONHasOneNormalForm(t *testing.T) {
	for _, same := range [][]string{
		{`{"a":1.50,"b":[1,2]}`, ` { "b" : [ 1 , 2 ], "a" : 1.50 } `, "{\"\\u0061\":1.50,\n\"b\":[1,\t2]}"},
		{`"A/é"`, `"\u0041\/\u00e9"`, ` "A\/é" `},
		{`{"a":{"y":1,"x":[{"d":0,"c":1e2}]}}`, `{"a":{"x":[{"c":1e2,"d":0}],"y":1}}`},
	} {
		for _, text := range same {
			if got, want := domain.NormalJSON([]byte(text)), domain.NormalJSON([]byte(same[0])); !bytes.Equal(got, want) {
				t.Errorf("%s is %s, not %s", text, got, want)
			}
		}
	}
	seen := map[string]string{}
	for _, text := range []string{
		`1`, `1.0`, `1e0`, `"1"`, `[1]`, `{"1":1}`, `null`, `""`, `true`, `12345678901234567890`, `12345678901234567891`, `0`, `-0`, `0.1`, `0.10000000000000000001`,
		`[1,2]`, `[2,1]`, `{"a":1}`, `{"A":1}`, `{}`, `[]`, `"e"`, `"-0"`, `"0"`, `{"a":1,"b":2}`, `{"a":2,"b":1}`, ` `, `{`, ``,
	} {
		form := string(domain.NormalJSON([]byte(text)))
		if other, ok := seen[form]; ok {
			t.Errorf("%s and %s are both %s", text, other, form)
		}
		seen[form] = text
	}
}

func FuzzNormalJSON(f *testing.F) {
	for _, s := range append(goodJSON, `1e2`, `[1.50,"\\\"-0e1",{"b":1E+3,"a":"1.0"}]`) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		form := domain.NormalJSON(body)
		if !bytes.Equal(before, body) {
			t.Fatal("the input was changed")
		}
		if domain.CheckJSON(body) != nil {
			return
		}
		if err := domain.CheckJSON(form); err != nil {
			t.Errorf("%q became %q: %v", body, form, err)
		}
		if again := domain.NormalJSON(form); !bytes.Equal(form, again) {
			t.Errorf("%q is %q, whose form is %q", body, form, again)
		}
	})
}
