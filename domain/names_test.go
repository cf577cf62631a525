package domain_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/domain"
)

func TestIDs(t *testing.T) {
	for _, good := range []string{"a", "A-Z_09", "kv2", "KV", "-", "_", "0", strings.Repeat("x", 128)} {
		if err := domain.CheckAgentID(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for bad, place := range map[string]string{
		"":                            "this has 0",
		strings.Repeat("x", 129):      "this has 129",
		strings.Repeat("ä", 64) + "b": "this has 129",
		"a.b":                         "byte 1 is '.'",
		"*":                           "byte 0 is '*'",
		"a>":                          "byte 1 is '>'",
		"a b":                         "byte 1 is ' '",
		"a\tb":                        "byte 1 is '\\t'",
		"a\x00":                       "byte 1 is '\\x00'",
		"a\r\nNats-Rollup: all":       "byte 1 is '\\r'",
		"..":                          "byte 0 is '.'",
		"$JS":                         "byte 0 is '$'",
		"$KV":                         "byte 0 is '$'",
		"a=b":                         "byte 1 is '='",
		"a/b":                         "byte 1 is '/'",
		"é":                           "byte 0",
		"a\xff":                       "byte 1",
		"a:b":                         "byte 1 is ':'",
		"kv":                          `"kv" is reserved`,
	} {
		refused(t, domain.CheckAgentID(bad), "id.invalid", place)
	}
	if err := domain.CheckID("task id", "kv"); err != nil {
		t.Errorf("kv is reserved for agents alone: %v", err)
	}
	refused(t, domain.CheckID("task id", "a.b"), "id.invalid", "task id")
}

func TestKeys(t *testing.T) {
	for _, good := range []string{
		"a", "a.b", "a.b.c", "A-Z_09=/", "/", "=", "-", "config/retry=3", strings.Repeat("k", 255),
		strings.Repeat("k.", 127) + "k",
	} {
		if err := domain.CheckKey(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for bad, place := range map[string]string{
		"":                           "this has 0",
		strings.Repeat("k", 256):     "this has 256",
		strings.Repeat("k.", 128):    "this has 256",
		strings.Repeat("k.", 127):    "ends with a dot",
		".a":                         "empty token at byte 0",
		"a..b":                       "empty token at byte 2",
		"..":                         "empty token at byte 0",
		".":                          "empty token at byte 0",
		"a.":                         "ends with a dot",
		"a.*":                        "byte 2 is '*'",
		"a.>":                        "byte 2 is '>'",
		">":                          "byte 0 is '>'",
		"a:b":                        "byte 1 is ':'",
		"a b":                        "byte 1 is ' '",
		"$JS.API":                    "byte 0 is '$'",
		"a\x7f":                      "byte 1 is '\\x7f'",
		"k\u00e9":                    "byte 1",
		"a\n":                        "byte 1 is '\\n'",
		"'; DROP TABLE agents.state": "byte 0 is '\\''",
	} {
		refused(t, domain.CheckKey(bad), "key.invalid", place)
	}
}

// refused expects a 400 with a code, whose message names the place.
func refused(t *testing.T, err error, code, place string) {
	t.Helper()
	var e *domain.Error
	switch {
	case !errors.As(err, &e):
		t.Errorf("%s naming %q expected, got %v", code, place, err)
	case e.Kind != domain.Invalid || e.Code != code || !strings.Contains(e.Message, place):
		t.Errorf("%s naming %q expected, got %v", code, place, e)
	}
}

func TestKindsHaveTheContractsStatus(t *testing.T) {
	for kind, status := range map[domain.Kind]int{
		domain.Invalid: 400, domain.Forbidden: 403, domain.NotFound: 404, domain.Conflict: 409, domain.TooLarge: 413,
		domain.Rejected: 422, domain.Overloaded: 429, domain.Unavailable: 503, domain.Internal: 500, "": 500,
	} {
		if kind.Status() != status {
			t.Errorf("%s is %d, not %d", kind, kind.Status(), status)
		}
	}
}

func TestWithLeavesTheErrorAlone(t *testing.T) {
	first := domain.Errorf(domain.Conflict, "state.conflict", "version %d", 3).With("version", 3)
	second := first.With("revision", 9)
	if len(first.Details) != 1 || len(second.Details) != 2 || second.Details["version"] != 3 {
		t.Errorf("first %v, second %v", first.Details, second.Details)
	}
	if got := second.Error(); got != "conflict (state.conflict): version 3" {
		t.Errorf("%q", got)
	}
}
