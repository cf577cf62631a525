package console

import "net/url"

// actions are what a session can do, by name.
var actions = map[string]action{
	"agent.set":    setEntry,
	"agent.delete": deleteEntry,
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
