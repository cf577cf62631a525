package topology

import "fmt"

// Kind is the kind of a step's object.
type Kind string

// The kinds of objects in a topology.
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

// Plan is what Apply does to a server, in this order: streams, consumers,
// buckets.
type Plan struct {
	Checks []Check `json:"checks"`
	Steps  []Step  `json:"steps"`
}

// Check is the result of one test of the server before anything is applied.
type Check struct {
	Name  string `json:"name"`
	Level Level  `json:"level"`
	Text  string `json:"text"`
}

// Level is the severity of a check; Refused stops the whole plan.
type Level string

// The levels of a check.
const (
	OK      Level = "ok"
	Warn    Level = "warn"
	Refused Level = "refuse"
)

// Step is the action for one stream, bucket or consumer.
type Step struct {
	Kind     Kind      `json:"kind"`
	Name     string    `json:"name"`
	Action   Action    `json:"action"`
	Reason   string    `json:"reason,omitempty"` // why it is refused
	Diff     []Change  `json:"diff,omitempty"`
	Mappings []Mapping `json:"mappings,omitempty"`

	apply  func(*api) error
	stream string // of a stream, a bucket or a consumer
}

// Stream is the stream of the step's object: of a bucket the one that holds it.
func (s *Step) Stream() string { return s.stream }

// Change is one field that differs from the topology.
type Change struct {
	Field   string `json:"field"`
	From    string `json:"from"`
	To      string `json:"to"`
	Refused string `json:"refused,omitempty"` // why it cannot be changed
}

// Mapping is one field whose value in force differs from the document, or whose
// effect the document does not show.
type Mapping struct {
	Field   string `json:"field"`
	Written string `json:"written"`
	InForce string `json:"in_force"`
	Reason  string `json:"reason"`
}

// Count is the number of steps with an action.
func (p *Plan) Count(a Action) int {
	n := 0
	for i := range p.Steps {
		if p.Steps[i].Action == a {
			n++
		}
	}
	return n
}

// Stopped is the first refused check; nil if the plan can be applied.
func (p *Plan) Stopped() *Check {
	for i := range p.Checks {
		if p.Checks[i].Level == Refused {
			return &p.Checks[i]
		}
	}
	return nil
}

// Refused reports whether a check or a step is refused.
func (p *Plan) Refused() bool { return p.Stopped() != nil || p.Count(Refuse) > 0 }

// Drift has one line for each step that would change or refuse something.
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
