package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// InstantFlags are the flags of a query about an earlier state.
type InstantFlags struct {
	AtRevision string `help:"As of this revision of the journal." placeholder:"REV"`
	AtTime     string `help:"As of this time (RFC 3339)." placeholder:"TIME"`
}

// Validate refuses what no query accepts.
func (f *InstantFlags) Validate() error {
	if f.AtRevision != "" && f.AtTime != "" {
		return errors.New("--at-revision and --at-time exclude each other")
	}
	if p, err := parseInstant(f.AtRevision); err != nil || f.AtRevision != "" && p.name != "at_revision" {
		return fmt.Errorf("--at-revision: %q is not a revision", f.AtRevision)
	}
	if p, err := parseInstant(f.AtTime); err != nil || f.AtTime != "" && p.name != "at_time" {
		return fmt.Errorf("--at-time: %q is not an RFC 3339 time", f.AtTime)
	}
	return nil
}

func (f *InstantFlags) when() instant {
	p, _ := parseInstant(f.AtRevision + f.AtTime) // Validate has checked them
	return p
}

// instant is a revision or a time as queries take it; the zero value is now.
type instant struct {
	name     string // "at_revision" or "at_time"
	value    json.RawMessage
	revision uint64
	at       time.Time
}

func parseInstant(text string) (p instant, err error) {
	if text == "" {
		return p, nil
	}
	if p.revision, err = strconv.ParseUint(text, 10, 64); err == nil {
		p.name, p.value = "at_revision", json.RawMessage(strconv.FormatUint(p.revision, 10))
		return p, nil
	}
	if err = p.at.UnmarshalText([]byte(text)); err != nil {
		return p, fmt.Errorf("%q is neither a revision nor an RFC 3339 time", text)
	}
	p.name = "at_time"
	p.value, err = json.Marshal(text)
	return p, err
}

// includes reports whether an event had happened by this instant.
func (p *instant) includes(revision uint64, recorded time.Time) bool {
	switch p.name {
	case "":
		return true
	case "at_revision":
		return revision <= p.revision
	}
	return !recorded.After(p.at)
}

// after reports whether this instant is later than another one of the same kind.
func (p *instant) after(q *instant) bool {
	return p.name == q.name && (p.revision > q.revision || p.at.After(q.at))
}

func (p *instant) String() string {
	if p.name == "" {
		return "now"
	}
	return strings.Trim(string(p.value), `"`)
}

// into adds the instant to the body of a query.
func (p *instant) into(body []byte) ([]byte, error) {
	if p.name == "" {
		return body, nil
	}
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(body, &members); err != nil {
		return nil, usagef("the body must be a JSON object: %w", err)
	}
	for _, name := range []string{"at_revision", "at_time"} {
		if _, ok := members[name]; ok {
			return nil, usagef("the body has %s already", name)
		}
	}
	members[p.name] = p.value
	return encodeJSON(members)
}
