package events

import (
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Types of the events of an agent's lifecycle (seed section 4).
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
)

// Lifecycle is the stream of an agent's lifecycle.
func Lifecycle(agent string) Stream { return Stream("agent." + agent + ".lifecycle") }

// LifecycleChange is the data of every lifecycle event.
type LifecycleChange struct {
	Reason   string   `json:"reason,omitempty"`
	Keys     []string `json:"keys,omitempty"`    // hydrated or flushed
	More     int      `json:"more,omitzero"`     // keys that are not named, where there are very many
	Revision uint64   `json:"revision,omitzero"` // up to which SQL is level, of a flush
	Origin   *Origin  `json:"origin,omitempty"`  // of a fork
	Request  string   `json:"request"`
}

// Origin is the past that a forked agent, or one of its entries, began with.
type Origin struct {
	Agent     string    `json:"agent"`
	Partition int       `json:"partition"`
	Revision  uint64    `json:"revision"`         // of that partition, up to which it was taken
	AtTime    time.Time `json:"at_time,omitzero"` // where a time was asked for
	Keys      int       `json:"keys,omitzero"`    // how many entries; of the fork, not of an entry
}

// Encode is the origin as part of an entry's data.
func (o Origin) Encode() (jsontext.Value, error) {
	return json.Marshal(o, json.Deterministic(true))
}

// DecodeOrigin reads it.
func DecodeOrigin(data jsontext.Value) (o Origin, err error) {
	return o, json.Unmarshal(data, &o)
}
