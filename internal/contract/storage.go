package contract

// Bucket is a declared KV bucket.
type Bucket struct {
	Key   string // form of its keys
	Value string // name in Shapes
	Doc   string
}

// Buckets are the KV buckets that clients may read and watch.
var Buckets = map[string]Bucket{
	"AGENT_STATE":    {"<agent>.<key>", "StateValue", "State entries of active agents."},
	"AGENT_CONFIG":   {"<agent>.<key>", "StateValue", "Configuration entries."},
	"TASK_STATE":     {"<task>", "Task", "Tasks."},
	"SESSION_DATA":   {"<session>", "Session", "Sessions."},
	"CLAIM_STATE":    {"<claim>", "Claim", "Claims. Not in the topology document."},
	"REMINDER_STATE": {"<reminder>", "Reminder", "Reminders. Not in the topology document, without TTL."},
	"VIEW_<name>":    {"the key of the row", "Row", "Rows of a declared view into kv."},
}

// Table is a declared SQL table of the schema agents.
type Table struct {
	Doc     string
	Columns string // as in Shape; the type is PostgreSQL's, "!" = not null
}

// docColumns end every table of documents.
const docColumns = `
	state_text! text The state as the events have it, or the value as sent.
	version! bigint Changes of the aggregate, from 1.
	revision! bigint Sequence of the last event in its journal partition.
	updated_at! timestamptz When it was recorded.
	digest! text Digest of the last event.`

// Tables are the tables of the schema agents that readers may use.
var Tables = map[string]Table{
	"state": {"State entries: one row per existing entry.", `
		agent_id! text The agent.
		state_key! text The entry.
		state_value! jsonb The value, for SQL.
		state_text! text The value as sent.
		version! bigint Changes of the entry, from 1.
		revision! bigint Sequence of the last event in its journal partition.
		writer! text As the command named it.
		timestamp! timestamptz The writer's time, in microseconds.
		updated_at! timestamptz When it was recorded.
		expires_at timestamptz Not used.
		digest! text Digest of the last event.
		timestamp_ns! smallint Nanoseconds of timestamp below the microsecond.`},
	"conflicts": {"Writes of state entries that lost.", `
		agent_id! text The agent.
		state_key! text The entry.
		version! bigint Losing writes of the entry, from 1.
		revision! bigint Sequence of the event.
		kind! text superseded or rejected.
		verb! text set, merge, add, append, revert or delete.
		strategy! text The conflict strategy in force.
		reason text Error code of a rejection.
		state_text text What was to be written.
		timestamp! timestamptz The writer's time.
		recorded_at! timestamptz When it was recorded.
		writer! text As the command named it.
		command_id! text The command.
		current_version! bigint Of the entry that it lost against; 0 = it did not exist.
		current_revision! bigint Of the entry that it lost against.
		digest! text Digest of the event.`},
	"lifecycle": {"The phase of each agent with a lifecycle.", `
		agent_id! text The agent.
		phase! text cold, hydrating, active, flushing or expired.
		since! timestamptz When the phase began.` + docColumns},
	"tasks": {"Tasks.", `
		task_id! text The task.
		status! text created, started, completed, failed or cancelled.
		kind! text What kind of work it is.
		agent_id text The agent that it is for, or that works on it.
		priority integer 1 to 10, 10 first.
		deadline timestamptz When it ends by itself.
		attempts! integer Starts.
		percent double How much is done.
		payload jsonb What the worker needs.
		result jsonb Of a completed task.
		reason text Of a failed, cancelled or repeated task.
		detail text Free text for reason.
		created_at timestamptz When it was created.
		started_at timestamptz When the last attempt began.
		finished_at timestamptz When it ended.` + docColumns},
	"sessions": {"Sessions.", `
		session_id! text The session.
		status! text open, closed or expired.
		owner! text The agent or user that it belongs to.
		data jsonb Values by key.
		ttl_seconds! bigint How long it stays open without a put or touch.
		opened_at timestamptz When it was opened.
		expires_at timestamptz When it ends by itself.
		ended_at timestamptz When it ended.` + docColumns},
	"config": {"Configuration: one row per existing entry.", `
		agent_id! text The agent.
		config_key! text The entry.
		config_value! jsonb The value, for SQL.` + docColumns},
	"claims": {"Claims.", `
		claim_id! text The claim.
		status! text held, released or expired.
		owner! text Who holds it, or held it last.
		fence! bigint Version of the event with which the owner acquired it.
		lease_ms bigint Length of the lease, in ms.
		data jsonb What the owner has noted.
		acquired_at timestamptz When the owner acquired it.
		renewed_at timestamptz When the lease began.
		expires_at timestamptz When the lease ends.
		ended_at timestamptz When it was released or ran out.` + docColumns},
	"reminders": {"Reminders.", `
		reminder_id! text The reminder.
		status! text active, done or cancelled.
		agent_id text The agent that it is for.
		subject! text The command that is sent.
		next_at timestamptz The next due time.
		fired! bigint Firings.
		missed! bigint Due times without a firing of their own.
		outcome text Of the last firing.
		set_at timestamptz When it was set.
		ended_at timestamptz When it ended.` + docColumns},
	"views": {"Definitions of declared views; their rows are in view_<name>.", `
		name! text The view.
		status! text defined or removed.
		source! text What the rows are made from.
		definition! jsonb The definition.
		set_by text The principal that has defined it.
		defined_at timestamptz When it got its definition.
		removed_at timestamptz When it was removed.` + docColumns},
	"inboxes": {"What agents have read of their messages.", `
		agent_id! text The agent.
		read_up_to! timestamptz All messages stored until then.
		marks! bigint[] Single messages beyond it, in microseconds since 1970.` + docColumns},
	"messages": {"Messages between agents.", `
		message_id! text Its command id.
		kind! text direct, broadcast or notification.
		sender! text The sender.
		recipient text Of a direct message.
		type text Of a notification.
		body! jsonb The body, for SQL.
		body_text! text The body as sent.
		sequence! bigint The revision of its event; without a digest, its sequence in the stream AGENT_MESSAGES of an earlier build.
		digest text Of its event.
		sent_at! timestamptz When the engine took it.
		stored_at! timestamptz Where it stands in every inbox.`},
	"events": {"The archive: every event.", `
		revision! bigint Sequence in the journal partition.
		version! bigint Position in the aggregate.
		timestamp! timestamptz The writer's time.
		recorded_at! timestamptz When it was recorded.
		partition! integer The journal partition.
		schema! integer Version of the format.
		recorded_ns! smallint Nanoseconds of recorded_at below the microsecond.
		stream! text The name of the aggregate: the subject without events.
		aggregate! text agent, task, session and so on.
		id! text Of the aggregate.
		key! text Of a state or configuration entry, else empty.
		type! text Type of the event.
		writer! text As the command named it.
		command_id! text The command.
		digest! text Digest of the event.
		body text The event as the journal has it.
		raw bytea The same, of an event that is not text.`},
	"checkpoints": {"How far each view is.", `
		view! text The view.
		partition! integer The journal partition.
		position! bigint The last event that it has.
		incarnation! text The journal that the position refers to.
		updated_at! timestamptz When it moved.
		notified bigint Up to which changes were published.
		version! integer Version of the view's fold.
		digest text Digest of the last event.`},
	"outbox": {"Commands that an application inserts in its own transaction; it gives command_id, subject and body.", `
		id! bigint Order of the inserts.
		command_id! text The command id.
		subject! text <aggregate>.<id>.<verb>.
		body text The body; default {}.
		created_at! timestamptz When it was inserted.
		done_at timestamptz When it got its outcome.
		attempts! integer How often it was tried.
		outcome jsonb The receipt or error; of a row that waits, the reason.
		inserted_by! text The role that has inserted it.`},
	"dead_letters": {"Events of aggregates that the durable view has in quarantine.", `
		id! bigint Order of the rows.
		source! text "view durable".
		subject! text The aggregate.
		partition integer The journal partition.
		revision bigint Sequence of the event.
		reason! text Why it cannot be applied.
		body! text The event.
		created_at! timestamptz When it was set aside.`},
	"audit": {"What was done with principals and grants.", `
		sequence! bigint In the stream of the audit.
		recorded_at! timestamptz When it was done.
		type! text What was done.
		name! text The principal.
		actor! text Who has done it.
		body! text The event.`},
}

// Channel is a subject that clients use besides commands and queries.
type Channel struct {
	Subject, Stream, Message, Doc string // Message names a shape
}

// Channels are the subjects of streams that clients subscribe to.
var Channels = []Channel{
	{"events.<aggregate>.<id>.…", "EVENTS", "Event", "The journal. Read it with queries.events.read."},
	{"outcomes.<command_id>", "OUTCOMES", "Outcome", "The receipt or error of a durable command, for 24 hours."},
	{"agents.state.<agent>.<key>", "AGENT_STATE", "Event", "Written and deleted state entries."},
	{"agents.state.<agent>", "AGENT_STATE", "ChangeNotification", "Changes that SQL has committed."},
	{"agents.lifecycle.<agent>.<event>", "AGENT_STATE", "Event", "The lifecycle of agents."},
	{"agents.heartbeat.<agent>", "AGENT_STATE", "Heartbeat", "Heartbeats."},
	{"tasks.created.<task>", "TASK_EXECUTION", "Event", "Tasks that are created, or created again."},
	{"tasks.started.<task>.<agent>", "TASK_EXECUTION", "Event", "Tasks that are started or claimed."},
	{"tasks.completed.<task>", "TASK_EXECUTION", "Event", "Completed tasks."},
	{"tasks.failed.<task>.<reason>", "TASK_EXECUTION", "Event", "Failed tasks."},
	{"tasks.cancelled.<task>", "TASK_EXECUTION", "Event", "Cancelled tasks."},
	{"messages.direct.<from>.<to>", "AGENT_MESSAGES", "AgentMessage", "Messages to one agent."},
	{"messages.broadcast.<from>", "AGENT_MESSAGES", "AgentMessage", "Messages to all agents."},
	{"messages.notification.<type>", "AGENT_MESSAGES", "AgentMessage", "Notifications."},
}
