package commands_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

func taken(t *testing.T, req commands.Request) (commands.Receipt, events.Event) {
	t.Helper()
	receipt, appended, err := handle(t, req)
	if err != nil || receipt.Outcome != domain.Accepted || len(appended) != 1 {
		t.Fatalf("%.200q: %+v, %v, %d events", req.Body, receipt, err, len(appended))
	}
	return receipt, appended[0]
}

func TestValuesAreTakenByteForByte(t *testing.T) {
	for _, value := range []string{
		`null`, `true`, `false`, `0`, `-0`, `1.50`, `1E+2`, `1e308`, `-1e-308`, `9e308`, `12345678901234567890`, strings.Repeat("9", 40),
		`""`, `"\u0041\/\ud83d\ude00"`, `"é😀"`, "\"\u2028\x7f\"", `"\\u0000"`, `"'; DROP TABLE agents.state; --"`, `"<script>&"`, `[]`, `{}`,
		`{ "b" : 1.50,` + "\r\n\t" + `"a":[ 1 , 2 ] }`, `{"":{"":[]}}`, `{"a":1,"A":2}`, `{"$JS":"$KV"}`,
		strings.Repeat("[", 64) + strings.Repeat("]", 64), strings.Repeat(`{"a":`, 64) + "1" + strings.Repeat("}", 64),
		`"` + strings.Repeat("v", 256<<10-2) + `"`,
	} {
		for _, body := range []string{
			`{"key":"k","value":` + value + `}`, ` { "value" : ` + value + ` , "key" : "k" } ` + "\n",
		} {
			_, ev := taken(t, agentSet(body))
			w, err := events.DecodeStateWrite(ev.Data)
			if err != nil || string(w.Value) != value {
				t.Errorf("%.100q was stored as %.100q, %v", value, w.Value, err)
			}
		}
	}
}

func TestNamesAreTaken(t *testing.T) {
	for _, id := range []string{"a", "A-Z_09", "kv1", "KV", "-", strings.Repeat("i", 128)} {
		req := agentSet(`{"key":"k","value":1}`)
		req.ID = id
		if r, ev := taken(t, req); r.ID != id || ev.ID != id || r.Aggregate != "agent" {
			t.Errorf("%q: %+v", id, r)
		}
	}
	for _, key := range []string{"k", "a.b.c", "A-Z_09=/", "a/b=c", strings.Repeat("k", 255), strings.Repeat("k.", 127) + "k"} {
		if r, ev := taken(t, agentSet(`{"key":"`+key+`","value":1}`)); r.Key != key || ev.Key != key {
			t.Errorf("%q: %+v", key, r)
		}
	}
	for _, id := range []string{
		"c", strings.Repeat("c", 128), ulidAt(noon), ulidAt(noon.Add(5 * time.Second)), ulidAt(time.UnixMilli(0)), uuid7At(noon.Add(5 * time.Second)),
		strings.ToLower(ulidAt(noon)), "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
		// These only look like ids from the future.
		ulidAt(noon.Add(5*time.Second + time.Millisecond)), ulidAt(noon.Add(time.Hour)), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
		uuid7At(noon.Add(5*time.Second + time.Millisecond)), uuid7At(noon.Add(24 * time.Hour)), "ffffffff-ffff-7fff-bfff-ffffffffffff",
		"7f3a9c0d1e5b7f3a9c0d1e5b7f", "7F3A9C0D1E5B7F3A9C0D1E5B7F", "7f3a9c0d1E5B7F3A9C0D1E5B7F",
	} {
		req := agentSet(`{"key":"k","value":1}`)
		req.CommandID = id
		if r, ev := taken(t, req); r.CommandID != id || ev.CommandID != id {
			t.Errorf("%q: %+v", id, r)
		}
	}
}

func TestTimestampsAreTaken(t *testing.T) {
	for text, want := range map[string]time.Time{
		"2026-06-07T12:00:05Z":                noon.Add(5 * time.Second),
		"2026-06-07T11:59:59.123456789Z":      noon.Add(-876543211),
		"2026-06-07T14:00:00+02:00":           noon,
		"1970-01-01T00:00:00Z":                time.Unix(0, 0).UTC(),
		"0001-01-01T00:00:00.000000001Z":      time.Time{}.Add(1),
		"2024-02-29T23:59:59.999999999-12:00": time.Date(2024, 3, 1, 11, 59, 59, 999999999, time.UTC),
	} {
		if _, ev := taken(t, agentSet(`{"key":"k","value":1,"timestamp":"`+text+`"}`)); ev.Timestamp != want || ev.RecordedAt != noon {
			t.Errorf("%s was stored as %s, recorded at %s", text, ev.Timestamp, ev.RecordedAt)
		}
	}
	for _, body := range []string{`{"key":"k","value":1}`, `{"key":"k","value":1,"timestamp":""}`, `{"key":"k","value":1,"timestamp":null}`} {
		if _, ev := taken(t, agentSet(body)); ev.Timestamp != noon {
			t.Errorf("%s was stored at %s", body, ev.Timestamp)
		}
	}
}

func TestOptionsAreTaken(t *testing.T) {
	for body, want := range map[string]string{
		`{"key":"k","value":1}`:                                             "timestamp",
		`{"key":"k","value":1,"strategy":"last_write_wins"}`:                "last_write_wins",
		`{"key":"k","value":1,"strategy":"reject"}`:                         "reject",
		`{"key":"k","value":1,"strategy":null}`:                             "timestamp",
		`{"key":"k","value":1,"expected_version":0}`:                        "timestamp",
		`{"key":"k","value":1,"expected_version":null}`:                     "timestamp",
		`{"key":"k","value":1,"writer":"` + strings.Repeat("w", 128) + `"}`: "timestamp",
		`{"key":"k","value":1,"writer":"Ada \" <a@b> \n"}`:                  "timestamp",
	} {
		_, ev := taken(t, agentSet(body))
		if w, err := events.DecodeStateWrite(ev.Data); err != nil || w.Strategy != want {
			t.Errorf("%s: %+v, %v", body, w, err)
		}
	}
	if _, _, err := handle(t, agentSet(`{"key":"k","value":1,"expected_version":18446744073709551615}`)); err == nil ||
		!strings.Contains(err.Error(), "state.conflict") {
		t.Errorf("the greatest version: %v", err)
	}
	if _, appended, err := handle(t, agentDelete(`{"key":"k"}`)); err == nil || !strings.Contains(err.Error(), "state.not_found") || len(appended) > 0 {
		t.Errorf("delete what is not there: %v, %d events", err, len(appended))
	}
}

func TestReceiptIsTheContracts(t *testing.T) {
	req := agentSet(`{"key":"k.l","value":1}`)
	req.CommandID = "c1"
	r, ev := taken(t, req)
	want := `{"command_id":"c1","outcome":"accepted","aggregate":"agent","id":"a1","key":"k.l","version":1,"revision":1,` +
		`"token":"paper000.0-1","replayed":false}`
	if got := string(r.Encode()); got != want || !json.Valid(r.Encode()) {
		t.Errorf("got %s\nwant %s", got, want)
	}
	digest, err := events.Chain("", &ev)
	if err != nil || ev.Digest != digest || ev.Version != 1 || ev.Schema != events.Schema {
		t.Errorf("stored as %s, its digest is %s, %v", ev.Encode(), digest, err)
	}
}

func TestMissingCommandIDIsMade(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		r, ev := taken(t, agentSet(`{"key":"k","value":1}`))
		if len(r.CommandID) != 26 || r.CommandID != ev.CommandID || seen[r.CommandID] {
			t.Fatalf("made %q, stored %q", r.CommandID, ev.CommandID)
		}
		seen[r.CommandID] = true
	}
}
