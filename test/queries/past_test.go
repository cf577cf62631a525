package queries

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// askPast queries every noun as of each of its moments.
func askPast(t *testing.T, c *harness.Client) {
	for _, list := range []struct{ noun, set, unset string }{{"agent", "set", "delete"}, {"config", "set", "unset"}} {
		pastEntries(t, c, list.noun, list.set, list.unset)
	}
	pastLifecycle(t, c)
	for _, query := range []string{"agent.x.get", "agent.x.entries", "agent.x.lifecycle", "task.x.get", "session.x.get", "config.x.get", "config.x.entries"} {
		body := M{"at_revision": 1, "at_time": "2026-01-01T00:00:00Z"}
		if query == "agent.x.get" || query == "config.x.get" {
			body["key"] = "k"
		}
		refused(t, c, query, body, 400, "body.invalid")
		delete(body, "at_revision")
		body["at_time"] = "yesterday"
		refused(t, c, query, body, 400, "timestamp.invalid")
	}
}

func pastEntries(t *testing.T, c *harness.Client, noun, set, unset string) {
	id := "past-" + noun
	state := map[string]string{}
	var revisions []uint64
	var states []map[string]string
	for i := range 30 {
		key := fmt.Sprintf("k/%d", i*7%11)
		verb, body := set, M{"key": key, "value": i}
		if _, there := state[key]; there && i%3 == 0 {
			verb = unset
			delete(body, "value")
			delete(state, key)
		} else {
			state[key] = fmt.Sprint(i)
		}
		r := c.MustDo(t, noun+"."+id+"."+verb, body)
		revisions, states = append(revisions, r.Revision), append(states, maps.Clone(state))
	}
	at := map[uint64]string{} // when each was recorded, by revision
	for i := range 11 {
		for _, v := range ask(t, c, noun+"."+id+".history", M{"key": fmt.Sprintf("k/%d", i)})["versions"].([]any) {
			v := v.(map[string]any)
			at[uint64(v["revision"].(float64))] = v["recorded_at"].(string)
		}
	}
	for i, revision := range revisions {
		want := slices.Sorted(maps.Keys(states[i]))
		for _, body := range []M{{"at_revision": revision}, {"at_revision": revision, "limit": 2}, {"at_time": at[revision]}, {"at_time": at[revision], "limit": 3}} {
			rows, _ := pages(t, c, noun+"."+id+".entries", "entries", "key", body)
			equal(t, fmt.Sprint(noun, body), append([]string{}, rows...), want)
		}
		for key := range states[len(states)-1] {
			body := M{"key": key, "at_revision": revision}
			if value, there := states[i][key]; there {
				equal(t, fmt.Sprint(body), ask(t, c, noun+"."+id+".get", body)["value"], json.RawMessage(value))
			}
		}
	}
	has(t, ask(t, c, noun+"."+id+".entries", M{"at_revision": revisions[0], "prefix": "k/"}), M{"source": "journal"})
	for _, body := range []M{{"at_revision": 0}, {"at_time": "1900-01-01T00:00:00Z"}, {"at_revision": revisions[9], "prefix": "none"}} {
		equal(t, fmt.Sprint(body), ask(t, c, noun+"."+id+".entries", body)["entries"], []any{})
	}
	rows, _ := pages(t, c, noun+"."+id+".entries", "entries", "key", M{"at_time": "2200-01-01T00:00:00Z"})
	equal(t, "in the future", rows, slices.Sorted(maps.Keys(state)))
}

func pastLifecycle(t *testing.T, c *harness.Client) {
	first := c.MustSet(t, "past-life", "k", 1, nil)
	harness.Eventually(t, "the write hydrates its agent", func() error {
		if got := ask(t, c, "agent.past-life.lifecycle", M{}); got["phase"] != "active" {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	r := c.MustDo(t, "agent.past-life.retire", nil)
	has(t, ask(t, c, "agent.past-life.lifecycle", M{"at_revision": r.Revision}), M{"phase": "cold", "revision": r.Revision, "source": "journal"})
	has(t, ask(t, c, "agent.past-life.lifecycle", M{"at_revision": first.Revision}), M{"phase": "cold", "version": 0, "since": nil})
	has(t, ask(t, c, "agent.past-life.lifecycle", M{"at_time": "1900-01-01T00:00:00Z"}), M{"phase": "cold", "version": 0})
}
