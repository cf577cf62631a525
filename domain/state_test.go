package domain_test

import (
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
)

// TestEncodeKeepsTheBytesOfValues: white space included, wherever a value stands.
func TestEncodeKeepsTheBytesOfValues(t *testing.T) {
	type inner struct {
		B jsontext.Value            `json:"b,omitzero"`
		M map[string]jsontext.Value `json:"m,omitempty"`
	}
	const a, b = "{ \"x\" : 1.50,\n\t\"y\":\"\\u0041 \\/\" }", ` [ 1 , 2 ] `
	got, err := domain.Encode(struct {
		A    jsontext.Value `json:"a"`
		In   *inner         `json:"in"`
		Text string         `json:"text"`
		None jsontext.Value `json:"none,omitzero"`
	}{[]byte(a), &inner{[]byte(b), map[string]jsontext.Value{"2": []byte(`"1 2"`), "1": []byte(`{}`)}}, "x", nil})
	if want := `{"a":` + a + `,"in":{"b":` + b + `,"m":{"1":{},"2":"1 2"}},"text":"x"}`; err != nil || string(got) != want {
		t.Errorf("%s, want %s: %v", got, want, err)
	}
}
