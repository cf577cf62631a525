package topology

import "fmt"

// Kind is what a step is about.
type Kind string

// The kinds of things in a topology.
const (
	KindStream   Kind = "stream"
	KindBucket   Kind = "bucket"
	KindConsumer Kind = "consumer"
)

// Action is what a step does to the server.
type Action string

// The actions of a plan. A refused step does nothing, not even in part.
const (
	Create    Action = "create"
	Update    Action = "update"
	Unchanged Action = "unchanged"
	Refuse    Action = "refuse"
)

// Plan is what would make a server be as a topology says, in the order in which
// it is done: streams, consumers, buckets.
type Plan struct {
	Checks []Check `json:"checks"`
	Steps  []Step  `json:"steps"`
}

// Check is a look at the server before anything is done.
type Check struct {
	Name  string `json:"name"`
	Level Level  `json:"level"`
	Text  string `json:"text"`
}

// Level is how much a check stands in the way: a refused one stops the whole plan.
type Level string

// The levels of a check.
const (
	OK      Level = "ok"
	Warn    Level = "warn"
	Refused Level = "refuse"
)

// Step is one stream, bucket or consumer.
type Step struct {
	Kind     Kind      `json:"kind"`
	Name     string    `json:"name"`
	Action   Action    `json:"action"`
	Reason   string    `json:"reason,omitempty"` // why it is refused
	Diff     []Change  `json:"diff,omitempty"`
	Mappings []Mapping `json:"mappings,omitempty"`

	apply func(*asking) error
}

// Change is one field that is not as it should be.
type Change struct {
	Field   string `json:"field"`
	From    string `json:"from"`
	To      string `json:"to"`
	Refused string `json:"refused,omitempty"` // why it cannot be changed
}

// Mapping is one field that is in force in another way than the file writes
// it, or has a consequence that the file does not show.
type Mapping struct {
	Field   string `json:"field"`
	Written string `json:"written"`
	InForce string `json:"in_force"`
	Reason  string `json:"reason"`
}

// Count is how many steps have an action.
func (p *Plan) Count(a Action) int {
	n := 0
	for i := range p.Steps {
		if p.Steps[i].Action == a {
			n++
		}
	}
	return n
}

// Stopped is the first refused check; nil when the plan may be carried out.
func (p *Plan) Stopped() *Check {
	for i := range p.Checks {
		if p.Checks[i].Level == Refused {
			return &p.Checks[i]
		}
	}
	return nil
}

// Refused tells whether anything of the plan cannot be done.
func (p *Plan) Refused() bool { return p.Stopped() != nil || p.Count(Refuse) > 0 }

// Drift is one line for each step that has something to do.
func (p *Plan) Drift() []string {
	var all []string
	for i := range p.Steps {
		s := &p.Steps[i]
		head := string(s.Kind) + " " + s.Name + ": "
		switch {
		case s.Action == Create:
			all = append(all, head+"missing")
		case s.Action == Refuse && len(s.Diff) == 0:
			all = append(all, head+s.Reason)
		case s.Action != Unchanged:
			for j, c := range s.Diff {
				if j > 0 {
					head += ", "
				}
				head += fmt.Sprintf("%s is %s, not %s", c.Field, c.From, c.To)
			}
			all = append(all, head)
		}
	}
	return all
}
