package domain_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidemark-engine/tidemark/domain"
)

func TestIDs(t *testing.T) {
	for _, good := range []string{"a", "A-Z_09", "kv2", "KV", "-", "_", "0", strings.Repeat("x", 128)} {
		if err := domain.CheckAgentID(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for bad, place := range map[string]string{
		"":                            "agent id is empty",
		strings.Repeat("x", 129):      "this has 129",
		strings.Repeat("ä", 64) + "b": `"ä`,
		"a.b":                         `"a.b" has a dot`,
		"*":                           "has '*'",
		"a>":                          "has '>'",
		"a b":                         "has ' '",
		"a\tb":                        "has '\\t'",
		"a\x00":                       "has '\\x00'",
		"a\r\nNats-Rollup: all":       "has '\\r'",
		"..":                          "has a dot",
		"$JS":                         "has '$'",
		"$KV":                         "has '$'",
		"a=b":                         "has '='",
		"a/b":                         "has '/'",
		"é":                           "\"é\" has 'é'",
		"bob@example.org":             "has '@'",
		"a\xff":                       "a byte that is not UTF-8",
		"a:b":                         "has ':'",
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
		"":                           "key is empty",
		strings.Repeat("k", 256):     "this has 256",
		strings.Repeat("k.", 128):    "this has 256",
		strings.Repeat("k.", 127):    "ends with a dot",
		".a":                         "a dot",
		"a..b":                       "two dots",
		"..":                         "begins with a dot",
		".":                          "begins with a dot",
		"a.":                         "ends with a dot",
		"a.*":                        "has '*'",
		"a.>":                        "has '>'",
		">":                          "has '>'",
		"a:b":                        "has ':'",
		"a b":                        "has ' '",
		"$JS.API":                    "has '$'",
		"a\x7f":                      "has '\\x7f'",
		"k\u00e9":                    "has 'é'",
		"ключ":                       "key \"ключ\" has 'к'",
		"k\xff":                      "a byte that is not UTF-8",
		"a\n":                        "has '\\n'",
		"'; DROP TABLE agents.state": "has '\\''",
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

func TestErrorsKeepTheirCharacters(t *testing.T) {
	for want, err := range map[string]*domain.Error{
		`{"error":{"kind":"invalid","code":"key.invalid","status":400,"message":"key \"<ключ>&'","details":{"a":"<>","b":1}}}`: domain.Errorf(domain.Invalid, "key.invalid", `key "<ключ>&'`).With("b", 1).With("a", "<>"),
		`{"error":{"kind":"conflict","code":"c","status":409,"message":"a` + "\ufffd" + `b"}}`:                                 domain.Errorf(domain.Conflict, "c", "a\xffb"),
		`{"error":{"kind":"conflict","code":"c","status":409,"message":"m"}}`:                                                  domain.Errorf(domain.Conflict, "c", "m").With("bad", make(chan int)),
	} {
		if got := string(err.Encode()); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

var (
	idForm  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
	keyForm = regexp.MustCompile(`^[A-Za-z0-9_=/-]+(\.[A-Za-z0-9_=/-]+)*$`)
)

func FuzzNames(f *testing.F) {
	for _, name := range []string{"", "a", "a.b", "a..b", ".a", "a.", "*", "ключ", "a\xff", "kv", "a\u2028", strings.Repeat("k", 256), strings.Repeat("i", 129)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		id, key := domain.CheckID("id", name), domain.CheckKey(name)
		if (id == nil) != idForm.MatchString(name) || (key == nil) != (keyForm.MatchString(name) && len(name) <= domain.MaxKey) {
			t.Errorf("%q: %v, %v", name, id, key)
		}
		for _, err := range []error{id, key} {
			if err != nil && !utf8.ValidString(err.Error()) {
				t.Errorf("%q: the message is not UTF-8: %q", name, err)
			}
		}
	})
}
