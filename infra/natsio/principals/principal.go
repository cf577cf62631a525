package principals

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/internal/identity"
)

// Principal is someone who may use the engine.
type Principal struct {
	Name      string         `json:"name"`
	Role      string         `json:"role"`
	Agents    string         `json:"agents"` // pattern of the agents that the role covers
	Grants    []grants.Grant `json:"grants"` // beyond those of the role
	Revoked   bool           `json:"revoked,omitempty"`
	CreatedAt time.Time      `json:"created_at"`
	ChangedAt time.Time      `json:"changed_at"`
	RotatedAt *time.Time     `json:"rotated_at,omitempty"` // of the credentials
	Account   string         `json:"account,omitempty"`    // on an external server in operator mode
}

// DefaultAgents are the agents of a role when none are named. Who is every agent holds every
// task, so that only roles for all agents are.
func DefaultAgents(name, role string) string {
	switch role {
	case "agent", "worker", "none":
		return name
	}
	return "*"
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// CheckName fails for what cannot be the name of a principal.
func CheckName(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("the name %.140q of a principal is not 1 to 128 of A-Z a-z 0-9 _ -", name)
	}
	if name == identity.Dev || name == identity.Operator {
		return fmt.Errorf("%q is the name of a built-in principal", name)
	}
	return nil
}

// Check fails for a principal that no engine would accept.
func (p *Principal) Check() error {
	if err := CheckName(p.Name); err != nil {
		return err
	}
	_, err := grants.Of(p.Role, p.Agents)
	return err
}

// Set are the grants in force: those of the role and its own; nil when it is revoked.
func (p *Principal) Set() (*grants.Set, error) {
	if p.Revoked {
		return nil, nil
	}
	all, err := grants.Of(p.Role, p.Agents)
	if err != nil {
		return nil, err
	}
	return grants.NewSet(p.Agents, append(all, p.Grants...)...), nil
}

// add adds a grant; false = the principal has it.
func (p *Principal) add(g grants.Grant) bool {
	if slices.ContainsFunc(p.Grants, func(known grants.Grant) bool { return known.String() == g.String() }) {
		return false
	}
	p.Grants = append(slices.Clone(p.Grants), g)
	return true
}
