package domain_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/domain"
)

// TestWrongTypes: a member that cannot be decoded is named, in details.place too, with what it
// must be.
func TestWrongTypes(t *testing.T) {
	type body struct {
		Count  *uint64  `json:"count"`
		Offset int64    `json:"offset"`
		Small  int8     `json:"small"`
		Ratio  *float64 `json:"ratio"`
		Name   *string  `json:"name"`
		On     bool     `json:"on"`
		List   []uint64 `json:"list"`
		More   *struct {
			Name string `json:"name"`
		} `json:"more"`
		Map map[string]string `json:"map"`
	}
	const whole, natural = "must be a whole number, in digits", "must be a whole number of 0 or more, in digits"
	for text, want := range map[string][2]string{
		`{"count":-1}`: {"/count", `"/count" (a JSON number, -1): ` + natural}, `{"count":1.5}`: {"/count", "1.5): " + natural}, `{"count":1e2}`: {"/count", "1e2): " + natural},
		`{"count":"1"}`: {"/count", "(a JSON string): " + natural}, `{"count":18446744073709551616}`: {"/count", "out of range"}, `{"offset":0.5}`: {"/offset", whole},
		`{"offset":true}`: {"/offset", whole}, `{"small":128}`: {"/small", "out of range"}, `{"ratio":"x"}`: {"/ratio", "must be a number"}, `{"name":7}`: {"/name", "must be a string"},
		`{"on":1}`: {"/on", "must be true or false"}, `{"list":{}}`: {"/list", "must be an array"}, `{"list":[1,"2"]}`: {"/list/1", natural}, `{"more":[]}`: {"/more", "must be an object"},
		`{"more":{"name":1}}`: {"/more/name", "must be a string"}, `{"map":1}`: {"/map", "must be an object"}, `{"map":{"a/b":1}}`: {"/map/a~1b", "must be a string"},
	} {
		var in body
		err := domain.DecodeBody([]byte(text), &in)
		var refused *domain.Error
		if !errors.As(err, &refused) || refused.Code != "body.invalid" || refused.Details["place"] != want[0] || !strings.Contains(refused.Message, want[1]) {
			t.Errorf("%s: %v, %v", text, err, refused)
		}
		if refused != nil && (strings.Contains(refused.Message, "strconv") || strings.Contains(refused.Message, "syntax")) {
			t.Errorf("%s: %s", text, refused.Message)
		}
	}
}

// TestUnknownFields: who mistypes a member is shown those that there are, also of an object within.
func TestUnknownFields(t *testing.T) {
	type named struct {
		Name string `json:"name,omitempty"`
	}
	type body struct {
		named
		Count uint64 `json:"count"`
		More  *named `json:"more"`
		own   string
	}
	for text, want := range map[string]string{
		`{"cuont":1}`: `unknown field at "/cuont": there are name, count, more`, `{"more":{"nmae":"x"}}`: `unknown field at "/more/nmae": there are name`,
	} {
		var refused *domain.Error
		if err := domain.DecodeBody([]byte(text), &body{own: ""}); !errors.As(err, &refused) || refused.Code != "body.unknown_field" || refused.Message != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	var refused *domain.Error
	if err := domain.DecodeBody([]byte(`{"a":1}`), &struct{}{}); !errors.As(err, &refused) || refused.Message != `unknown field at "/a": there are none` {
		t.Errorf("%v", err)
	}
}
