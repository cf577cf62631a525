package natsio

import (
	"strings"
	"testing"
)

func TestCheckPrefix(t *testing.T) {
	for prefix, valid := range map[string]bool{
		"": true, "acme": true, "acme.": true, "acme.eu-1": true, "_x": true, strings.Repeat("a", 128): true,
		"ac me": false, "acme..eu": false, ".acme": false, "acme.>": false, "*": false, "$JS": false, "a\x00": false, "ä": false,
		"_INBOX": false, "_R_.x": false, strings.Repeat("a", 129): false, "a\n": false,
	} {
		if err := CheckPrefix(prefix); (err == nil) != valid {
			t.Errorf("%q: %v", prefix, err)
		}
	}
}

func TestOwnSubject(t *testing.T) {
	for subject, own := range map[string]string{
		"events.x": "acme.events.>", "events.>": "acme.events.>", "*.x": "acme.events.>", "timers.at.x": "acme.timers.>",
		"orders.>": "", "event.x": "", "events": "", "agents.state.>": "", "eventsx.>": "",
	} {
		if got := NewSubjects("acme").OwnSubject("acme." + subject); got != own {
			t.Errorf("acme.%s: %q", subject, got)
		}
	}
	for subject, own := range map[string]string{"$JS.API.x": "$…", "$KV.>": "$…", "$SRV.PING": "$…", "x.$JS": "", "commands.x": "", ">": "acme.events.>"} {
		if got := NewSubjects("acme").OwnSubject(subject); got != own {
			t.Errorf("%s: %q", subject, got)
		}
	}
}
