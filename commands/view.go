package commands

import (
	"strconv"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/view"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/internal/grants"
)

func viewCommand(c view.Command, request request) Command {
	c.Request = request.print
	return bind("view", c.ID, "", events.View(c.ID), request, viewFold, c, view.Decide)
}

// readViewDefine reads a definition. Its sender must be allowed to read what the view shows.
func readViewDefine(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
	d, expected, err := view.ParseDefine(id, body)
	if err != nil {
		return Command{}, err
	}
	version := ""
	if expected != nil {
		version = strconv.FormatUint(*expected, 10)
	}
	cmd := viewCommand(view.Command{ID: id, Definition: d, ExpectedVersion: expected},
		request{print: fingerprint("define", string(d.Canonical()), version)})
	cmd.shows = &grants.Rows{From: d.From, Agents: d.Agents, Keys: d.Keys}
	return cmd, nil
}

func readViewRemove(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
	if err := domain.DecodeBody(body, &struct{}{}); err != nil {
		return Command{}, err
	}
	if err := view.CheckName(id); err != nil {
		return Command{}, err
	}
	return viewCommand(view.Command{ID: id, Remove: true}, request{print: fingerprint("remove")}), nil
}
