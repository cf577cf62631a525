package commands_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/journaltest"
)

// computed expects the value in the receipt.
func (e *engine) computed(id, verb, body, want string) {
	e.t.Helper()
	if r := e.accepted(id, verb, body); r.Value != want {
		e.t.Errorf("%s %.100s: the receipt has %.100s, want %.100s", verb, body, r.Value, want)
	}
}

func TestAComputedCommandAgainHasItsValue(t *testing.T) {
	large := `{"text":"` + strings.Repeat("x", 2000) + `"}`
	repeats(t, func(t *testing.T, e *engine, id func() string) {
		for key, c := range map[string][3]string{
			"n": {"add", `"delta":0.1`, `0.1`}, "o": {"merge", `"value":` + large, large}, "l": {"append", `"items":[` + large + `],"max_items":3`, `[` + large + `]`},
		} {
			command, body := id(), fmt.Sprintf(`{"key":%q,%s}`, key, c[1])
			first := e.accepted(command, c[0], body)
			if first.Value != c[2] {
				t.Errorf("%s: %.100s", c[0], first.Value)
			}
			e.replays(command, c[0], body, first)
			e.accepted(id(), c[0], body)
			e.replays(command, c[0], body, first)
			e.accepted(id(), "delete", fmt.Sprintf(`{"key":%q}`, key))
			e.replays(command, c[0], body, first)
			e.refused(command, "set", fmt.Sprintf(`{"key":%q,"value":1}`, key), domain.Conflict, "command.id_reused")
			e.refused(command, c[0], body[:len(body)-1]+`,"writer":"w"}`, domain.Conflict, "command.id_reused")
			e.computed(id(), c[0], body, c[2])
			e.count(key, 4, 0)
		}
	})
}

// A conflict is no answer to a command that computes, however often other writers win.
func TestConflictsOfComputedCommandsAreRetried(t *testing.T) {
	journal := &troubled{Journal: journaltest.History(t, 1)}
	e := newEngine(t, journal, commands.Config{})
	lost := func(func() (history.Appended, error)) (history.Appended, error) {
		return history.Appended{}, history.ErrConflict
	}
	for range 26 {
		journal.next = append(journal.next, lost)
	}
	again := slices.Clone(journal.next)
	e.computed("", "add", `{"key":"n","delta":1}`, "1")
	journal.next = again
	results, err := e.batch(`{"atomic":true,"commands":[` + item("a1", "add", "", `{"key":"n","delta":1}`) + `]}`)
	if err != nil || results[0].Receipt.Value != "2" {
		t.Errorf("%+v, %v", results, err)
	}
}

// Values that memory does not keep are read before they are computed with.
func TestComputeAfterEachOtherWrite(t *testing.T) {
	e := one(t)
	large := strings.Repeat("x", 2000)
	e.accepted("", "set", `{"key":"l","value":["`+large+`"],"timestamp":"2026-01-01T00:00:00Z"}`)
	e.computed("", "append", `{"key":"l","items":[1]}`, `["`+large+`",1]`)
	e.accepted("", "set", `{"key":"l","value":["`+large+`",2]}`)
	if r, err := e.do("", "set", `{"key":"l","value":[],"timestamp":"2001-01-01T00:00:00Z"}`); err != nil || r.Outcome != domain.Superseded || r.Value != "" {
		t.Errorf("%+v, %v", r, err)
	}
	e.computed("", "append", `{"key":"l","items":[3],"max_items":2}`, `[2,3]`)
	e.refused("", "add", `{"key":"l","delta":1}`, domain.Rejected, "state.not_number")
	e.refused("", "append", `{"key":"l","items":[4],"expected_version":3}`, domain.Conflict, "state.conflict")
	e.accepted("", "delete", `{"key":"l"}`)
	e.computed("", "add", `{"key":"l","delta":1e2,"min":100,"expected_version":0}`, `100`)
	e.refused("", "add", `{"key":"l","delta":-1,"min":100}`, domain.Rejected, "state.out_of_range")
	e.refused("", "merge", `{"key":"l","value":{}}`, domain.Rejected, "state.not_object")
	e.count("l", 6, 2)
	e.accepted("", "set", `{"key":"big","value":["`+strings.Repeat("x", 256<<10-4)+`"]}`)
	e.refused("", "append", `{"key":"big","items":[1]}`, domain.TooLarge, "value.too_large")
	e.count("big", 1, 0)
}

func TestComputedCommandsInABatchSeeEachOther(t *testing.T) {
	e := one(t)
	large := strings.Repeat("x", 2000)
	e.accepted("", "set", `{"key":"l","value":["`+large+`"]}`)
	for _, atomic := range []bool{true, false} {
		items := []string{
			item("a1", "set", "", `{"key":"l","value":1,"timestamp":"2001-01-01T00:00:00Z"}`),
			item("a1", "append", youngID(), `{"key":"l","items":[1]}`), item("a1", "add", youngID(), `{"key":"n","delta":2}`),
			item("a1", "add", youngID(), `{"key":"n","delta":3}`), item("a1", "append", youngID(), `{"key":"l","items":[2],"max_items":2}`),
			item("a1", "set", youngID(), `{"key":"l","value":["`+large+`"]}`), item("a1", "append", youngID(), `{"key":"l","items":[],"max_items":7}`),
			item("a1", "delete", youngID(), `{"key":"n"}`), item("a1", "add", youngID(), `{"key":"n","delta":0.5}`), item("a1", "delete", youngID(), `{"key":"n"}`),
		}
		items[0] = strings.Replace(items[0], `"id":""`, `"id":"`+youngID()+`"`, 1)
		body := fmt.Sprintf(`{"atomic":%t,"commands":[%s]}`, atomic, strings.Join(items, ","))
		want := []string{"", `["` + large + `",1]`, "2", "5", "[1,2]", "", `["` + large + `"]`, "", "0.5", ""}
		for _, again := range []bool{false, true} {
			results, err := e.batch(body)
			if err != nil || len(results) != len(items) {
				t.Fatalf("%+v, %v", results, err)
			}
			for i, r := range results {
				if r.Err != nil || r.Receipt.Value != want[i] || r.Receipt.Replayed != again {
					t.Errorf("atomic %t: the %d. result is %.300v, want %.50s", atomic, i, r, want[i])
				}
			}
		}
	}
	e.computed("", "add", `{"key":"n","delta":1}`, "1")
	_, err := e.batch(`{"atomic":true,"commands":[` + item("a1", "add", "", `{"key":"n","delta":1}`) + `,` + item("a1", "add", "", `{"key":"n","delta":1,"max":2}`) + `]}`)
	if !hasCode(err, "state.out_of_range") {
		t.Errorf("%v", err)
	}
	e.computed("", "add", `{"key":"n","delta":0}`, "1")
}

// Commands of two engines that compute one entry commute: none is lost, none refused.
func TestTwoEnginesCompute(t *testing.T) {
	all := engines(t, 2)
	const clients, each = 16, 8
	values := make(chan string, len(all)*clients*each)
	var wg sync.WaitGroup
	for i, e := range all {
		for c := range clients {
			wg.Go(func() {
				for n := range each {
					for verb, body := range map[string]string{
						"add": `{"key":"n","delta":0.1}`, "append": fmt.Sprintf(`{"key":"l","items":["%d-%d-%d"]}`, i, c, n),
						"merge": fmt.Sprintf(`{"key":"o","value":{"%d-%d":%d}}`, i, c, n),
					} {
						got := <-e.send("", "a1", verb, body)
						if got.err != nil || got.Replayed || got.Outcome != domain.Accepted {
							t.Errorf("%s: %+v", verb, got)
						}
						if verb == "add" {
							values <- got.Value
						}
					}
				}
			})
		}
	}
	wg.Wait()
	close(values)
	var sums []string
	for v := range values {
		sums = append(sums, v)
	}
	slices.Sort(sums)
	if n := len(slices.Compact(sums)); n != len(all)*clients*each {
		t.Errorf("%d different sums", n)
	}
	total := len(all) * clients * each
	all[1].computed("", "add", `{"key":"n","delta":0}`, strconv.FormatFloat(float64(total)/10, 'f', -1, 64))
	var list []string
	r := all[0].accepted("", "append", `{"key":"l","items":[]}`)
	harness.Must(t, json.Unmarshal([]byte(r.Value), &list))
	if slices.Sort(list); len(slices.Compact(list)) != total {
		t.Errorf("%d items of %d", len(list), total)
	}
	var object map[string]int
	r = all[1].accepted("", "merge", `{"key":"o","value":{}}`)
	harness.Must(t, json.Unmarshal([]byte(r.Value), &object))
	if len(object) != len(all)*clients {
		t.Errorf("%d members", len(object))
	}
	t.Logf("%d conflicts were retried", all[0].Stats().Conflicts.Load()+all[1].Stats().Conflicts.Load())

	// A stale value neither refuses a command nor is computed with.
	all[0].accepted("", "set", `{"key":"n","value":"text"}`)
	all[1].accepted("", "set", `{"key":"n","value":5}`)
	all[0].computed("", "add", `{"key":"n","delta":1,"min":6,"max":6}`, "6")
	last := all[0].stored(events.StateEntry("a1", "n"))
	if w, err := events.DecodeStateWrite(last[len(last)-1].Data); err != nil || string(w.Value) != "6" {
		t.Errorf("%+v, %v", w, err)
	}
}
