package query

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/view"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// one is the authority of a single principal.
type one struct{ set *grants.Set }

func (a one) Grants(context.Context) *grants.Set { return a.set }

func (a one) Refuse(_ context.Context, missing grants.Grant) error {
	return domain.Errorf(domain.Forbidden, "forbidden", "%s", missing)
}

func setOf(t *testing.T, texts ...string) *grants.Set {
	t.Helper()
	var all []grants.Grant
	for _, text := range texts {
		g, err := grants.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, g)
	}
	return grants.NewSet("bob-*", all...)
}

// TestRefusedBeforeAnythingIsRead: the query has no stores, so whatever it would look up
// is a panic.
func TestRefusedBeforeAnythingIsRead(t *testing.T) {
	for _, set := range []*grants.Set{nil, setOf(t), setOf(t, "command *:*", "watch *:*", "admin *", "query agent:bob-*", "query message:bob-*")} {
		for name, h := range handlers {
			noun, query, _ := strings.Cut(name, ".")
			list := h.check == nil
			if list && set != nil && len(set.Grants()) > 0 {
				continue
			}
			tokens := []string{noun, "alice", query}
			if list {
				tokens = []string{noun, query}
			}
			for _, body := range []string{`{"key":"k"}`, `nonsense`} {
				_, err := (&Query{Authority: one{set}}).Ask(t.Context(), tokens, []byte(body))
				var known *domain.Error
				if !errors.As(err, &known) || known.Kind != domain.Forbidden || !strings.HasPrefix(known.Message, "query ") {
					t.Errorf("%s with %s: %v", name, body, err)
				}
			}
		}
	}
	keyed := &Query{Authority: one{setOf(t, "query agent:alice.mood", "query config:alice.mood.*")}}
	for _, subject := range []string{"agent.alice.get", "agent.alice.history", "agent.alice.lifecycle", "config.alice.get"} {
		_, err := keyed.Ask(t.Context(), strings.Split(subject, "."), []byte(map[bool]string{true: `{}`, false: `{"key":"wish"}`}[strings.HasSuffix(subject, "lifecycle")]))
		var known *domain.Error
		if !errors.As(err, &known) || known.Kind != domain.Forbidden {
			t.Errorf("%s of another key: %v", subject, err)
		}
	}
}

// TestViewsShowWhatIsGranted: the rows of a view are for who may read all that it shows. Who
// may not read definitions does not learn which views there are.
func TestViewsShowWhatIsGranted(t *testing.T) {
	orders := view.Definition{From: view.FromState, Agents: "shop-*", Keys: "order.*"}
	for text, want := range map[string][2]string{ // of a view that is there, and of one that is not; empty = no refusal
		"query agent:shop-*":             {"", "query view:v definition"},
		"query agent:shop-1":             {"query view:v definition", "query view:v definition"},
		"query view:* get,list":          {"query view:v definition", "query view:v definition"},
		"query view:v":                   {"query agent:shop-* get", ""},
		"query *:*":                      {"", ""},
		"query agent:shop-*.order.* get": {"", "query view:v definition"},
	} {
		p := &permission{Authority: one{}, set: setOf(t, text)}
		for i, exists := range []bool{true, false} {
			err := p.shows(t.Context(), "v", &orders, exists)
			if want[i] == "" && err != nil || want[i] != "" && (err == nil || !strings.HasSuffix(err.Error(), want[i])) {
				t.Errorf("%s, there is such a view: %t: %v, want %q", text, exists, err, want[i])
			}
		}
	}
	if err := (&permission{set: grants.Unrestricted()}).shows(t.Context(), "v", nil, false); err != nil {
		t.Error(err)
	}
}

func TestNarrow(t *testing.T) {
	only := func(ids ...string) *readmodel.Visible { return &readmodel.Visible{IDs: ids} }
	for _, c := range []struct {
		prefix string
		only   *readmodel.Visible
		want   string
		some   bool
	}{
		{"x", nil, "x", true},
		{"", only("alice-*"), "alice-", true},
		{"alice-1", only("alice-*"), "alice-1", true},
		{"bob", only("alice-*"), "", false},
		{"", only("alice-*", "alfred"), "al", true},
		{"", only("alice-*", "*-x"), "", true},
		{"al", only("bob", "alice"), "alice", true},
		{"x", &readmodel.Visible{IDs: []string{"bob"}, Agents: []string{"a"}}, "x", true},
		{"", only(), "", false},
	} {
		if got, some := narrow(c.prefix, c.only); some != c.some || some && got != c.want {
			t.Errorf("%q and %+v: %q, %t", c.prefix, c.only, got, some)
		}
	}
}

// TestOnlyRows: pages are filled with what may be shown, and cost no more than the rows
// before.
func TestOnlyRows(t *testing.T) {
	all := []string{"a1", "b1", "a2", "a3", "b2", "a4", "b3", "c1"}
	read := func(after string) ([]string, error) {
		i := slices.Index(all, after) + 1
		return all[i:min(i+2, len(all))], nil
	}
	row := func(s *string) (string, int) { return *s, 1 }
	shows := func(key string) bool { return key[0] == 'b' }
	for _, c := range []struct {
		after string
		limit int
		want  string
	}{{"", 1, "b1"}, {"", 2, "b1 b2"}, {"", 9, "b1 b2 b3"}, {"b1", 1, "b2"}, {"b3", 5, ""}} {
		got, err := onlyRows(shows, c.after, c.limit, row, read)
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("after %q, %d: %q, %v", c.after, c.limit, got, err)
		}
	}
}
