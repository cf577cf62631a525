package mcp

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tidemark-engine/tidemark/client"
)

// explanation says why an entry has its value.
type explanation struct {
	Entry  json.RawMessage   `json:"entry"`           // the newest version: value, writer, actor, command
	Event  *client.Event     `json:"event,omitempty"` // that made it
	Losers []json.RawMessage `json:"losers"`          // writes that lost since the version before
}

// why explains the newest version of an entry: its event, with command, sender and trace,
// and the writes that lost against it.
func why(ctx context.Context, s *Server, a args) (any, error) {
	id := a.text("agent")
	var history struct {
		Versions []json.RawMessage `json:"versions"`
	}
	if err := s.client.Query(ctx, "agent."+id+".history", map[string]any{"key": a["key"], "losers": true, "limit": 50}, &history); err != nil {
		return nil, err
	}
	out := explanation{Losers: []json.RawMessage{}}
	for _, raw := range history.Versions {
		var v struct {
			Kind     string `json:"kind"`
			Revision uint64 `json:"revision"`
		}
		if err := json.Unmarshal(raw, &v); err != nil {
			return nil, fmt.Errorf("a version in the history is not readable: %w", err)
		}
		if v.Kind == "superseded" || v.Kind == "rejected" {
			out.Losers = append(out.Losers, raw)
			continue
		}
		out.Entry = raw
		var err error
		out.Event, err = s.event(ctx, "agent."+id+".state."+a.text("key"), v.Revision)
		return out, err // what is older lost against an earlier version
	}
	return out, nil
}

// event is the event of a revision.
func (s *Server) event(ctx context.Context, subject string, revision uint64) (*client.Event, error) {
	for event, err := range s.client.Events(ctx, client.EventsFrom{Subject: subject, Revision: revision, Until: revision}) {
		return &event, err
	}
	return nil, nil
}
