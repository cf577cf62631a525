package domain_test

import (
	"encoding/json"
	"maps"
	"testing"

	"github.com/tidemark-engine/tidemark/domain"
)

// What is read the quick way is what the whole reader would have read.
func FuzzPlainObject(f *testing.F) {
	for _, body := range []string{
		`{}`, ` { } `, `{"key":"mood"}`, `{"key": "mood",` + "\n\t" + `"token" :"a.1"} `, `{"a":"b","c":""}`,
		``, `{`, `{"a"`, `{"a":`, `{"a":"b"`, `{"a":"b",}`, `{"a":"b"}x`, `{"a":"b"}{}`, `{,}`, `["a"]`, `"a"`,
		`{"a":1}`, `{"a":null}`, `{"a":{"b":"c"}}`, `{"a":"\n"}`, `{"a":"é"}`, "{\"a\":\"\x00\"}", "{\"a\":\"\x7f\"}", `{"a":"b","a":"c"}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got := map[string]string{}
		ok := domain.PlainObject(body, func(name, value []byte) bool {
			_, twice := got[string(name)]
			got[string(name)] = string(value)
			return !twice
		})
		if !ok {
			return
		}
		var want map[string]string
		if err := json.Unmarshal(body, &want); err != nil || !maps.Equal(got, want) {
			t.Errorf("%q is read as %q, it is %q (%v)", body, got, want, err)
		}
		if err := domain.CheckJSON(body); err != nil {
			t.Errorf("%q is read, it is %v", body, err)
		}
	})
}

func TestPlainObjectTakesWhatClientsWrite(t *testing.T) {
	for _, body := range []string{`{}`, `{"key":"mood"}`, `{"key": "mood", "token": "x.1"}`, "{\n  \"key\": \"mood\"\n}\n"} {
		if !domain.PlainObject([]byte(body), func(_, _ []byte) bool { return true }) {
			t.Errorf("%q is not plain", body)
		}
	}
}
