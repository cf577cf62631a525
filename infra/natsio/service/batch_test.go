package service_test

import (
	"strings"
	"testing"
)

// TestABatchHasAnID: the header of a batch is read like that of a command.
func TestABatchHasAnID(t *testing.T) {
	s := serve(t, "")
	const body = `{"commands":[{"subject":"agent.a1.set","body":{"key":"k","value":1}}]}`
	first, again := s.request("commands.batch", body, "nats-msg-id", "b1"), s.request("commands.batch", body, "Nats-Msg-Id", "b1")
	if a, b := string(first.Data), string(again.Data); !strings.Contains(a, `"replayed":false`) || strings.ReplaceAll(a, `"replayed":false`, `"replayed":true`) != b {
		t.Errorf("the batch again under its id: %s, then %s", a, b)
	}
	for id, code := range map[string]string{"a.b": "id.invalid", "": "id.invalid", strings.Repeat("b", 129): "id.invalid"} {
		if m := s.request("commands.batch", body, "Nats-Msg-Id", id); m.Header.Get("Nats-Service-Error-Code") != "400" || !strings.Contains(string(m.Data), code) {
			t.Errorf("%q: %s", id, m.Data)
		}
	}
}
