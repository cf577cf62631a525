package events

import (
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Types of the events of an agent's lifecycle.
const (
	HydrationStarted = "agent.hydration_started"
	Hydrated         = "agent.hydrated"
	HydrationFailed  = "agent.hydration_failed"
	FlushStarted     = "agent.flush_started"
	Flushed          = "agent.flushed"
	FlushFailed      = "agent.flush_failed"
	Expired          = "agent.expired"
	Retired          = "agent.retired"
	Forked           = "agent.forked"
	Erased           = "agent.erased"
	RevertStarted    = "agent.revert_started"
	Reverted         = "agent.reverted"
)

// Lifecycle is the name of an agent's lifecycle.
func Lifecycle(agent string) AggregateName { return AggregateName("agent." + agent + ".lifecycle") }

// LifecycleChange is the data of every lifecycle event.
type LifecycleChange struct {
	Reason   string          `json:"reason,omitempty"`
	Keys     []string        `json:"keys,omitzero"`     // hydrated, flushed or evicted; of a hydration and a flush also when there are none
	More     int             `json:"more,omitzero"`     // number of further keys that are not named
	Revision uint64          `json:"revision,omitzero"` // of a flush: up to which SQL has the agent's changes
	Origin   *Origin         `json:"origin,omitempty"`  // of a fork
	Erasure  *Erasure        `json:"erasure,omitempty"` // of an erasure
	Reverted *AgentReversion `json:"reverted,omitzero"` // of a revert
	Request  string          `json:"request"`
}

// AgentReversion is what a revert of all entries of an agent did.
type AgentReversion struct {
	RevertPoint
	Keys    int `json:"keys,omitzero"`    // number of entries that it changed, once it is done
	Follows int `json:"follows,omitzero"` // number of events of the same append after this one
}

// Erasure is what the erasure of an agent removed.
type Erasure struct {
	Entries   int      `json:"entries"`            // state entries that existed
	Config    int      `json:"config"`             // configuration entries that existed
	Tasks     int      `json:"tasks"`              // tasks that belonged to it
	Sessions  int      `json:"sessions"`           // sessions that it owned
	Claims    int      `json:"claims,omitzero"`    // claims that it held or was the last to hold
	Reminders int      `json:"reminders,omitzero"` // reminders whose commands went to it
	DataKeys  []string `json:"data_keys"`          // ids of the destroyed keys
	More      int      `json:"more,omitzero"`      // number of further keys that are not named
}

// Origin is the state that a forked agent, or one of its entries, starts from.
type Origin struct {
	Agent     string    `json:"agent"`
	Partition int       `json:"partition"`
	Revision  uint64    `json:"revision"`         // of that partition, as of which it was copied
	AtTime    time.Time `json:"at_time,omitzero"` // if the fork asked for a time
	Keys      int       `json:"keys,omitzero"`    // number of entries; of the fork, not of an entry
}

// Encode is the origin as a member of an entry's data.
func (o Origin) Encode() (jsontext.Value, error) {
	return json.Marshal(o, json.Deterministic(true))
}

// DecodeOrigin decodes an origin.
func DecodeOrigin(data jsontext.Value) (o Origin, err error) {
	return o, json.Unmarshal(data, &o)
}
