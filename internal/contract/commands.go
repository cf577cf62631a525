package contract

// TasksNext and Batch are the requests below commands. that are no verb of an aggregate.
const (
	TasksNext = "tasks.next"
	Batch     = "batch"
)

const (
	expected = `expected_version count The write takes effect only at this version of the entry; 0 = the entry does not exist.`
	writer   = `writer string Who writes, up to 128 bytes. It breaks ties between equal timestamps.`
	reason   = `reason string Why; kept in the event.`
	holder   = `
		agent_id id The holder; another one is refused with task.fenced.
		fence count The version in the receipt of the claim or start; another one is refused with task.fenced.`
)

// Commands are the requests on commands.<aggregate>.<id>.<verb>, by "<aggregate>.<verb>", and
// commands.batch and commands.tasks.next.
var Commands = map[string]Message{
	"agent.set": {Doc: "Writes a value of an agent.", Errors: "state.conflict value.too_large timestamp.future strategy.unknown", Body: `
		key! key The entry.
		value! any Any JSON value, at most 256 KiB; kept byte for byte.
		strategy last_write_wins|timestamp|reject What decides a conflict; default: the strategy configured for the key, else timestamp.
		timestamp time The writer's time, for the strategy timestamp; default: the engine's clock, but later than the entry's.
		` + expected + `
		` + writer},
	"agent.delete": {Doc: "Deletes a value of an agent.", Errors: "state.not_found state.conflict timestamp.future strategy.unknown", Body: `
		key! key The entry.
		strategy last_write_wins|timestamp|reject What decides a conflict, as for set.
		timestamp time The writer's time, for the strategy timestamp.
		` + expected + `
		` + writer},
	"agent.merge": {Doc: "Applies a JSON merge patch (RFC 7396) to a value; a missing entry is {}.", Errors: "state.not_object state.conflict value.too_large", Body: `
		key! key The entry.
		value! object The patch: members with null are removed.
		` + expected + `
		` + writer},
	"agent.add": {Doc: "Adds to a number exactly; a missing entry is 0.", Errors: "state.not_number state.out_of_range state.conflict range.invalid", Body: `
		key! key The entry.
		delta! number What is added, up to 40 digits.
		min number A smaller sum is refused with state.out_of_range.
		max number A larger sum is refused with state.out_of_range.
		` + expected + `
		` + writer},
	"agent.append": {Doc: "Appends to an array; a missing entry is [].", Errors: "state.not_array state.conflict value.too_large max_items.invalid", Body: `
		key! key The entry.
		items! array What is appended, in this order.
		max_items integer(1..) How many elements stay: the newest ones; default: all.
		` + expected + `
		` + writer},
	"agent.revert": {Doc: "Brings an entry, or without key every entry of the agent, back to a point in the past, as new events. One of to_version, to_revision and to_time is required.",
		Errors: "state.version_not_found state.erased revision.future to_version.invalid batch.not_atomic", Body: `
		key key The entry; default: every entry of the agent.
		to_version integer(1..) Version of the entry; needs key.
		to_revision count Revision of the agent's partition.
		to_time time Time of recording.
		` + reason + `
		` + expected},
	"agent.hydrate": {Doc: "Puts the agent's rows of SQL into KV.", Errors: "agent.hydrating agent.active agent.flushing", Body: reason},
	"agent.flush":   {Doc: "Makes SQL hold all changes of the agent.", Errors: "agent.cold agent.hydrating agent.flushing agent.expired", Body: reason},
	"agent.expire":  {Doc: "Flushes the agent and removes it from KV.", Errors: "agent.not_flushed", Body: reason},
	"agent.retire":  {Doc: "Ends the agent's activity: the phase is then cold. Its entries stay.", Body: reason},
	"agent.heartbeat": {Doc: "Says that the agent lives. Published on agents.heartbeat.<agent>; not in the journal.", Errors: "messages.off messages.unavailable", Body: `
		status any What the heartbeat carries.`},
	"agent.fork": {Doc: "Makes this agent from the entries of another one, now or at a point in the past.", Errors: "agent.exists agent.not_found revision.future batch.not_atomic", Body: `
		from! id The agent whose entries are copied.
		at_revision count Revision of its partition; default: now.
		at_time time Time of recording; default: now.
		` + reason},
	"agent.erase": {Doc: "Destroys the agent's keys: every present and past value becomes unreadable.", Errors: "reason.invalid erase.needs_encryption erase.plaintext_history batch.not_atomic keys.unavailable", Body: `
		reason! string Why; kept in the event.`},

	"task.create": {Doc: "Creates a task.", Errors: "task.exists priority.invalid deadline.past retry.invalid", Body: `
		kind! id What kind of work it is; workers ask by it.
		payload any What the worker needs.
		agent_id id The only agent that may claim it; default: any.
		priority integer(1..10) 10 first; default: after all others.
		deadline time When an unfinished task ends by itself: started ones fail, others are cancelled.
		retry @Retry Repetition after a failure; default: none.`},
	"task.claim": {Doc: "Takes a task with a lease. The version in the receipt is the fence.", Errors: "task.not_claimable task.not_found lease_ms.invalid", Body: `
		agent_id! id Who works on it.
		lease_ms integer(1..86400000) How long the claim holds without progress, in ms; default 30000.`},
	"task.start": {Doc: "Starts a task without a lease.", Errors: "task.not_startable task.not_found", Body: `
		agent_id! id Who works on it.`},
	"task.progress": {Doc: "Reports progress and renews the lease.", Errors: "task.fenced task.not_started percent.invalid", Body: `
		percent number(0..100) How much is done.
		note string What is being done.` + holder},
	"task.complete": {Doc: "Ends a task with a result.", Errors: "task.fenced task.not_started task.already_completed task.already_failed task.already_cancelled", Body: `
		result any What came of it.` + holder},
	"task.fail": {Doc: "Ends an attempt without a result; the task is created again while its retry allows.", Errors: "task.fenced task.not_started task.already_completed task.already_failed task.already_cancelled reason.invalid", Body: `
		reason! id One word; workers and feeds filter by it.
		detail string Free text.` + holder},
	"task.cancel": {Doc: "Ends a task that is not completed or failed.", Errors: "task.not_cancellable task.already_cancelled", Body: `
		reason string Why; kept in the event.`},
	TasksNext: {Doc: "Claims the task that is first by priority and age, of those that are for this agent or for any. Not durable, and no part of a batch.",
		Answer: "ClaimedTask", Errors: "task.none tasks.loading command.too_old lease_ms.invalid wait_ms.invalid", Body: `
		agent_id! id Who works on it.
		kind id Only tasks of this kind; default: any.
		lease_ms integer(1..86400000) How long the claim holds without progress, in ms; default 30000.
		wait_ms integer(0..60000) How long to wait for a task, in ms; default 0.`},

	"session.open": {Doc: "Opens a session.", Errors: "session.exists session.closed session.expired ttl.invalid", Body: `
		owner! id The agent or user that it belongs to.
		ttl integer(1..2592000) How long it stays open without a put or touch, in seconds; default 3600.`},
	"session.put": {Doc: "Writes a value of a session.", Errors: "session.closed session.expired session.not_found session.too_large", Body: `
		key! key The member.
		value! any Any JSON value; all of a session together are limited like one value.`},
	"session.touch": {Doc: "Begins the session's time to live again.", Errors: "session.closed session.expired session.not_found"},
	"session.close": {Doc: "Ends a session.", Errors: "session.expired session.not_found"},

	"config.set": {Doc: "Writes a configuration entry of an agent; the id is the agent.", Errors: "state.conflict value.too_large", Body: `
		key! key The entry.
		value! any Any JSON value.
		` + expected},
	"config.unset": {Doc: "Removes a configuration entry of an agent.", Errors: "state.conflict config.not_found", Body: `
		key! key The entry.
		` + expected},

	"claim.acquire": {Doc: "Takes a name that one owner holds at a time. The version in the receipt is the fencing token.", Errors: "claim.held lease_ms.invalid", Body: `
		owner! id Who holds it.
		lease_ms integer(1..31536000000) How long it holds without a renewal, in ms; default: until it is released.
		data any What others may know about the holder.`},
	"claim.renew": {Doc: "Begins the lease of a claim again.", Errors: "claim.fenced claim.not_found lease_ms.invalid", Body: `
		owner! id Who holds it.
		fence! count A version of the claim since the owner acquired it.
		lease_ms integer(1..31536000000) The new lease, in ms; default: as before.`},
	"claim.release": {Doc: "Gives a claim up.", Errors: "claim.fenced claim.not_found", Body: `
		owner! id Who holds it.
		fence! count A version of the claim since the owner acquired it.`},

	"message.direct": {Doc: "Sends a message to one agent; the id is the sender.", Errors: "message.too_large", Body: `
		to! id The agent that gets it.
		body! any Any JSON value.`},
	"message.broadcast": {Doc: "Sends a message to all agents; the id is the sender.", Errors: "message.too_large", Body: `
		body! any Any JSON value.`},
	"message.notify": {Doc: "Publishes a notification of a type; it is in no inbox. The id is the sender.", Errors: "message.too_large", Body: `
		type! id The type, part of the subject.
		body! any Any JSON value.`},
	"message.read": {Doc: "Marks messages as read; the id is the reader. At least one of up_to and marks is required.", Errors: "up_to.invalid marks.invalid message.too_many_marks", Body: `
		up_to integer(1..) All messages up to this mark.
		marks []integer(1..) Single messages, 1 to 1000.`},

	"reminder.set": {Doc: "Sets when a command is sent. One of at, every_ms and cron is required.", Errors: "schedule.invalid schedule.never at.past until.past every_ms.invalid cron.invalid timezone.invalid count.invalid missed.invalid", Body: `
		at time The only due time.
		every_ms integer(1000..) The time from one due time to the next, in ms.
		cron string Five fields: minute, hour, day, month, weekday.
		timezone string Time zone of cron (IANA); default UTC.
		until time No due time after it.
		count integer(1..) The largest number of firings.
		missed one|all|skip What happens to due times during a downtime: one firing for all (default), all of them, none.
		command! @ReminderCommand The command that is sent.
		agent_id id The agent that the reminder is for.`},
	"reminder.cancel": {Doc: "Ends a reminder.", Errors: "reminder.not_found reminder.done"},

	"view.define": {Doc: "Defines a view: rows made from state, tasks or other aggregates.", Errors: "view.invalid view.exists state.conflict", Body: `
		name string The name, which is that of the subject.
		from! state|task|session|config|message|reminder|claim What the rows are made from.
		agents string Pattern of agents, * = any characters; default: all.
		keys string Pattern of keys; default: all.
		columns {}@ViewColumn Columns by name.
		group @ViewGroup One row per group of rows; default: one row per entry.
		into []string Where the rows are written: sql, kv; default sql.
		expected_version count It takes effect only at this version of the definition; 0 = there is none.`},
	"view.remove": {Doc: "Removes a view with its rows.", Errors: "view.not_found"},

	Batch: {Doc: "Executes up to 500 commands, each by itself or all or none.", Answer: "BatchAnswer",
		Errors: "batch.size batch.repeated_id batch.partitions batch.not_atomic batch.too_large require.failed require.not_atomic require.partitions require.size require.unknown", Body: `
		atomic bool All or none; default false.
		commands! []@BatchCommand The commands, in their order.
		require []@Requirement What must hold at the moment of the append, up to 100; needs atomic, or one command.`},
}
