package demo

import (
	"fmt"
	"strconv"
	"time"
)

// move is one step of an agent of the tour, and its expected outcome.
type move struct {
	verb     string // set or delete
	key      string
	strategy string
	at       int    // its timestamp, in seconds of the agent's own time; 0 = none
	expect   string // expected_version; empty = none
	racers   int    // concurrent commands, each over another connection; 0 = 1
	wins     int    // how many of them are accepted
	loss     string // outcome of the others
	again    bool   // repeats the previous command with its id
}

// script is the moves of each agent, in order: every conflict strategy, won and
// lost, sets and deletes.
var script = []move{
	{verb: "set", key: "mood", strategy: "last_write_wins", racers: 4, wins: 4},
	{again: true, loss: "replayed"},

	{verb: "set", key: "position", strategy: "timestamp", at: 20, wins: 1},
	{verb: "set", key: "position", strategy: "timestamp", at: 50, wins: 1},
	{verb: "set", key: "position", strategy: "timestamp", at: 10, loss: "superseded"},
	{verb: "set", key: "position", strategy: "timestamp", at: 40, loss: "superseded"},
	{verb: "set", key: "position", strategy: "timestamp", at: 60, wins: 1},
	{verb: "delete", key: "position", strategy: "timestamp", at: 30, loss: "superseded"},

	{verb: "set", key: "claim", strategy: "reject", racers: 4, wins: 1, loss: "rejected"},

	{verb: "set", key: "counter", strategy: "last_write_wins", expect: "0", wins: 1},
	{verb: "set", key: "counter", strategy: "timestamp", expect: "1", wins: 1},
	{verb: "set", key: "counter", strategy: "reject", expect: "2", racers: 3, wins: 1, loss: "rejected"},

	{verb: "set", key: "note", strategy: "last_write_wins", wins: 1},
	{verb: "delete", key: "note", strategy: "reject", expect: "1", wins: 1},
	{verb: "set", key: "note", strategy: "reject", wins: 1},

	{verb: "set", key: "scratch", strategy: "timestamp", wins: 1},
	{verb: "delete", key: "scratch", strategy: "last_write_wins", wins: 1},
}

// scriptLength is the number of commands in the script.
func scriptLength() (n int) {
	for _, m := range script {
		n += max(m.racers, 1)
	}
	return n
}

// scriptKeys are the keys of the script. The one written last is not the first.
func scriptKeys() (keys []string) {
	seen := map[string]bool{"": true}
	for _, m := range script {
		if !seen[m.key] {
			seen[m.key] = true
			keys = append(keys, m.key)
		}
	}
	return keys
}

// body is the command of one racer. The value is JSON that a careless
// decoder changes: white space, a number that no float has, text beyond ASCII.
func (m *move) body(agent string, racer int, zero time.Time) []byte {
	b := fmt.Appendf(nil, `{"key":%q,"strategy":%q,"writer":"%s/%d"`, m.key, m.strategy, agent, racer)
	if m.verb == "set" {
		b = fmt.Appendf(b, `,"value":{ "by": %d, "exact": 9007199254740993.10, "text": "naïve ✓ 東京 \u00e9\n" }`, racer)
	}
	if m.at > 0 {
		b = fmt.Appendf(b, `,"timestamp":%q`, zero.Add(time.Duration(m.at)*time.Second).Format(time.RFC3339Nano))
	}
	if m.expect != "" {
		b = append(b, `,"expected_version":`...)
		b = append(b, m.expect...)
	}
	return append(b, '}')
}

// check describes an unexpected outcome; empty = as expected.
func (m *move) check(got map[string]int) string {
	n := max(m.racers, 1)
	if got["accepted"] == m.wins && (m.wins == n || got[m.loss] == n-m.wins) {
		return ""
	}
	want := strconv.Itoa(m.wins) + " accepted"
	if m.wins < n {
		want += ", " + strconv.Itoa(n-m.wins) + " " + m.loss
	}
	return fmt.Sprintf("%s %s (%s): want %s, got %v", m.verb, m.key, m.strategy, want, got)
}
