package contract

var stateShapes = map[string]Type{
	"Entry": {"A state or configuration entry.", `
		agent_id! id The agent.
		key! key The entry.
		value any As it was sent, byte for byte.
		timestamp time The writer's time, of a state entry.
		updated_at time When it was recorded, of a configuration entry.
		version! count Changes of the entry, from 1.
		revision! count Sequence in the journal partition.
		digest! digest Digest of its last event.`},
	"EntryAnswer":   {"An entry.", `+Entry` + answered},
	"EntriesAnswer": {"A page of entries.", `entries! []@Entry In the order of the keys.` + listed},
	"EntryVersion": {"A version of a state entry, or a losing write.", `
		+Entry
		kind! set|deleted|superseded|rejected What the write did.
		writer! string As the command named it.
		actor id The authenticated sender.
		command_id! string The command that caused it.
		reason string Error code of a rejection.
		erased bool The content was erased.
		recorded_at! time When the event was recorded.`},
	"VersionsAnswer": {"A page of the versions of a state entry.", `versions! []@EntryVersion Newest first.` + listed},
	"ConfigVersion":  {"A version of a configuration entry.", docVersion + "\n value any As it was sent; missing in a removal."},
	"ConfigVersionsAnswer": {"A page of the versions of a configuration entry.", versions(`
		agent_id! id The agent.
		key! key The entry.`, "ConfigVersion")},
	"Agent": {"An agent in a list.", `
		agent_id! id The agent.
		phase! cold|hydrating|active|flushing|expired The phase of its lifecycle.
		since time When the phase began.
		entries! count State entries.
		revision! count Sequence of its last event.
		updated_at! time When it was recorded.`},
	"AgentsAnswer": {"A page of agents.", `agents! []@Agent In the order of their ids.` + listed},
	"LifecycleState": {"The lifecycle of an agent.", `
		phase! cold|hydrating|active|flushing|expired The phase.
		since time? When it began.
		from cold|hydrating|active|flushing|expired Where a hydration or flush began.`},
	"LifecycleAnswer": {"The lifecycle of an agent.", `
		agent_id! id The agent.
		+LifecycleState
		updated_at time When the last event was recorded.
		version! count Events of the lifecycle.
		revision! count Sequence of the last event.
		digest digest Digest of the last event.
		last_seen time? The last write or heartbeat since the engine's start; null = none.
		dirty_keys count? Entries that SQL does not have yet; null = unknown.` + answered},
	"TimelineEvent": {"An event with its position.", `
		revision! count Sequence in the journal partition.
		partition! count The partition.
		unreadable string The aggregate, of an event that this engine cannot read; then there is nothing else.
		type string Type of the event.
		+?EventTail`},
	"TimelineAnswer": {"A page of an agent's events.", `events! []@TimelineEvent Newest first.` + listed},
	"PatchOperation": {"An operation of a JSON Patch (RFC 6902).", `
		op! add|remove|replace What changes.
		path! string JSON pointer; the first token is the key.
		value any The new value.`},
	"DiffEvent": {"An event without its content.", `
		revision! count Sequence in the journal partition.
		type! string Type of the event.
		key! key The entry.
		version! count Version of the entry.
		command_id! string The command that caused it.
		writer! string As the command named it.
		actor id The authenticated sender.
		recorded_at! time When it was recorded.`},
	"DiffAnswer": {"What differs between two points.", `
		from! any As it was asked.
		to! any As it was asked, or the revision of now.
		patch! []@PatchOperation From the object of keys and values at from to that at to.
		events! []@DiffEvent The events of the keys that differ, key by key.` + listed},

	"StateValue": {"A value of the buckets AGENT_STATE and AGENT_CONFIG.", `
		value! any As it was sent, byte for byte.
		timestamp! time The writer's time.
		agent_id! id The agent.
		version! count Changes of the entry, from 1.
		revision! count Sequence of the last event.
		digest! digest Digest of the last event.`},
}
