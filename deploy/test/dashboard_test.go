package deploy_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// Each panel of the dashboard asks for metrics that exist, and says what it shows.
func TestDashboard(t *testing.T) {
	var board struct {
		UID        string
		Templating struct {
			List []struct{ Name, Definition string }
		}
		Panels []struct {
			ID                       int
			Type, Title, Description string
			GridPos                  struct{ X, Y, W, H int }
			Targets                  []struct{ Expr string }
		}
	}
	must(t, json.Unmarshal(read(t, "../grafana/tidemark.json"), &board))
	known, ids, exprs := metrics(t), map[int]bool{}, 0
	for _, v := range board.Templating.List {
		if inner, found := strings.CutPrefix(v.Definition, "label_values("); found {
			selector, _, _ := strings.Cut(inner, ", ")
			check(t, "variable "+v.Name, selector, known)
		}
	}
	for _, p := range board.Panels {
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d %q: its id is not its own, or it has no title", p.ID, p.Title)
		}
		ids[p.ID] = true
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || len(p.Targets) == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %q: no description, no target, or beyond the page", p.Title)
		}
		for _, target := range p.Targets {
			exprs++
			check(t, p.Title, strings.ReplaceAll(target.Expr, "$__rate_interval", "5m"), known)
		}
	}
	if board.UID != "tidemark" || exprs < 30 {
		t.Errorf("dashboard %q with %d expressions", board.UID, exprs)
	}
}
