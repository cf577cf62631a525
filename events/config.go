package events

// Types of the events of a configuration entry. Their data is a StateWrite,
// without a strategy: configuration has one writer at a time, by
// expected_version or by journal order.
const (
	ConfigSet   = "config.set"
	ConfigUnset = "config.unset"
)

// Config is the name of one configuration entry of an agent.
func Config(agent, key string) AggregateName { return AggregateName("config." + agent + "." + key) }
