package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tidemark-engine/tidemark/client"
)

// explanation says why an entry has its value.
type explanation struct {
	Entry  json.RawMessage   `json:"entry"`            // the newest version: value, writer, actor, command; null = all writes have lost
	Event  *client.Event     `json:"event,omitempty"`  // that made it
	Losers []json.RawMessage `json:"losers"`           // the newest writes that lost against it, at most maxLosers
	Cursor string            `json:"cursor,omitempty"` // of state_history with losers, where more of them are
}

// maxLosers bounds the losing writes of an explanation: an entry may have any number.
const maxLosers = 50

// version is what an explanation needs of a row of the history.
type version struct {
	Kind     string `json:"kind"`
	Revision uint64 `json:"revision"`
}

func (v version) lost() bool { return v.Kind == "superseded" || v.Kind == "rejected" }

// why explains the newest version of an entry: its event, with command, sender and trace,
// and the writes that lost against it.
func why(ctx context.Context, s *Server, a args) (any, error) {
	page, err := s.history(ctx, a, true, maxLosers)
	if err != nil {
		return nil, err
	}
	out := explanation{Losers: []json.RawMessage{}}
	for i, v := range page.versions {
		if !v.lost() { // what is older lost against an earlier version
			out.Entry = page.Rows[i]
			out.Event, err = s.event(ctx, a, v.Revision)
			return out, err
		}
		out.Losers = append(out.Losers, page.Rows[i])
	}
	newest, err := s.history(ctx, a, false, 1)
	if err != nil && !errors.Is(err, client.ErrNotFound) {
		return nil, err
	}
	out.Cursor = page.Cursor
	for _, v := range newest.versions {
		out.Entry = newest.Rows[0]
		if out.Event, err = s.event(ctx, a, v.Revision); err != nil {
			return nil, err
		}
		for n, lost := range page.versions {
			if lost.Revision < v.Revision { // this version has come meanwhile
				out.Losers, out.Cursor = out.Losers[:n], ""
				break
			}
		}
	}
	return out, nil
}

// historyPage is the newest rows of an entry's history.
type historyPage struct {
	Rows     []json.RawMessage `json:"versions"`
	Cursor   string            `json:"cursor"`
	versions []version         // of the rows
}

func (s *Server) history(ctx context.Context, a args, losers bool, limit int) (page historyPage, err error) {
	body := map[string]any{"key": a["key"], "losers": losers, "limit": limit}
	if err := s.client.Query(ctx, "agent."+a.text("agent")+".history", body, &page); err != nil {
		return page, err
	}
	page.versions = make([]version, len(page.Rows))
	for i, raw := range page.Rows {
		if err := json.Unmarshal(raw, &page.versions[i]); err != nil {
			return page, fmt.Errorf("a version in the history is not readable: %w", err)
		}
	}
	return page, nil
}

// event is the event of a version of an entry.
func (s *Server) event(ctx context.Context, a args, revision uint64) (*client.Event, error) {
	subject := "agent." + a.text("agent") + ".state." + a.text("key")
	for event, err := range s.client.Events(ctx, client.EventsFrom{Subject: subject, Revision: revision, Until: revision}) {
		return &event, err
	}
	return nil, nil
}
