package events

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
)

// Lifecycle is the stream of an agent's lifecycle.
func Lifecycle(agent string) Stream { return Stream("agent." + agent + ".lifecycle") }

// LifecycleChange is the data of every lifecycle event.
type LifecycleChange struct {
	Reason   string   `json:"reason,omitempty"`
	Keys     []string `json:"keys,omitempty"`    // hydrated or flushed
	More     int      `json:"more,omitzero"`     // keys that are not named, where there are very many
	Revision uint64   `json:"revision,omitzero"` // up to which SQL is level, of a flush
	Request  string   `json:"request"`
}
