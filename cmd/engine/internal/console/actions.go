package console

import (
	"encoding/json"
	"net/url"
	"strings"

	"github.com/a-h/templ"

	"github.com/tidemark-engine/tidemark/client"
)

// actions are what a session can do, by name.
var actions = map[string]action{
	"agent.set":    setEntry,
	"agent.delete": deleteEntry,
	"agent.revert": revert,
	"agent.fork":   forkAgent,
}

func setEntry(_ *request, f url.Values) (plan, error) {
	agent, key := f.Get("agent"), f.Get("key")
	value, err := jsonField(f, "value")
	if err != nil {
		return plan{}, err
	}
	p := plan{
		title: "Set an entry", button: "Set " + key, back: to("/agents", agent),
		says:    "The entry " + key + " of agent " + agent + " gets this value.",
		subject: "agent." + agent + ".set", body: map[string]any{"key": key, "value": value},
	}
	if err := optionalNumber(f, "expected_version", p.body); err != nil {
		return plan{}, err
	}
	if v, given := p.body["expected_version"]; given {
		p.says += " If it is not at version " + encoded(v) + " any more, nothing happens."
	}
	return p, nil
}

func deleteEntry(_ *request, f url.Values) (plan, error) {
	agent, key := f.Get("agent"), f.Get("key")
	p := plan{
		title: "Delete an entry", danger: true, button: "Delete " + key, back: to("/agents", agent),
		says:    "The entry " + key + " of agent " + agent + " is deleted. Its history stays, and it can be reverted.",
		subject: "agent." + agent + ".delete", body: map[string]any{"key": key},
	}
	return p, optionalNumber(f, "expected_version", p.body)
}

// revert brings an entry back to a version, or an agent back to a point.
func revert(r *request, f url.Values) (plan, error) {
	agent, key := f.Get("agent"), f.Get("key")
	p := plan{title: "Revert", danger: true, back: to("/agents", agent), subject: "agent." + agent + ".revert", body: map[string]any{}}
	if reason := strings.TrimSpace(f.Get("reason")); reason != "" {
		p.body["reason"] = reason
	}
	if version := f.Get("version"); key != "" && version != "" {
		p.body["key"] = key
		if err := optionalNumber(url.Values{"to_version": {version}}, "to_version", p.body); err != nil {
			return plan{}, err
		}
		p.button, p.back = "Revert "+key, entryURL(agent, key)
		p.says = "The entry " + key + " of agent " + agent + " gets the value of its version " + version + " again, as a new version."
		return p, optionalNumber(f, "expected_version", p.body)
	}
	point, err := pointIn(f)
	if err != nil {
		return plan{}, err
	}
	if !point.past() {
		return plan{}, invalid("choose a revision or a time first")
	}
	point.intoCommand(p.body, "to_revision", "to_time")
	p.button = "Revert " + agent
	p.says = "Every entry of agent " + agent + " becomes what it was at " + point.String() + ". The history stays, and the revert can be reverted."
	p.more = r.wouldRevert(agent, point)
	return p, nil
}

func pointIn(f url.Values) (point, error) {
	p := pointOf(f)
	if p.problem != "" {
		return p, invalid(p.problem)
	}
	return p, nil
}

// patchLine is an operation of agent.diff.
type patchLine struct {
	Op    string          `json:"op"`
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value"`
}

// wouldRevert shows what a revert of an agent takes back.
func (r *request) wouldRevert(agent string, p point) templ.Component {
	var diff struct {
		Patch  []patchLine `json:"patch"`
		Cursor string      `json:"cursor"`
	}
	if err := r.ask("agent."+agent+".diff", map[string]any{"from": p.wire(), "limit": pageSize}, &diff); err != nil {
		return failure(err)
	}
	return takenBack(diff.Patch, diff.Cursor != "")
}

// forkAgent makes a new agent with the entries that another one had or has.
func forkAgent(_ *request, f url.Values) (plan, error) {
	agent, from := strings.TrimSpace(f.Get("agent")), f.Get("from")
	if agent == "" {
		return plan{}, &client.Error{Kind: "invalid", Code: "id.invalid", Status: 400, Message: "the new agent needs an id"}
	}
	point, err := pointIn(f)
	if err != nil {
		return plan{}, err
	}
	p := plan{
		title: "Fork", button: "Fork to " + agent, back: to("/agents", agent),
		says:    "A new agent " + agent + " gets the entries that agent " + from + " has now.",
		subject: "agent." + agent + ".fork", body: map[string]any{"from": from},
	}
	if point.past() {
		point.intoCommand(p.body, "at_revision", "at_time")
		p.says = "A new agent " + agent + " gets the entries that agent " + from + " had at " + point.String() + "."
	}
	return p, nil
}
