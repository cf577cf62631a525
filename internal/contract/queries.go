package contract

const (
	page = `
		limit integer(1..1000) Rows of a page; default 100. A page also ends at about 768 KiB.
		cursor cursor Where to go on: the cursor of the page before.`
	read = `
		token token The answer is at least as new as this read position.
		wait_ms integer(0..60000) How long to wait for that, in ms; default 2000.`
	past = `
		at_revision count The state at this revision of the partition; 0 = before the first event.
		at_time time The state at this time of recording.`
	list = `
		prefix string Only ids that begin with it.` + read + `
		max_age_ms count A cached answer of up to this age, in ms, will do; default 0: none.` + page
)

// Queries are the requests on queries.<noun>.<id>.<query> and, where the noun is a plural, on
// queries.<noun>.<query>, by "<noun>.<query>".
var Queries = map[string]Message{
	"agent.get": {Doc: "Reads a value.", Answer: "EntryAnswer", Errors: "state.not_found consistency.unknown read.behind", Body: `
		key! key The entry.` + read + `
		consistency cached|hot|durable|strong Who may answer: memory and below (default), KV and below, SQL, the journal's leader.` + past},
	"agent.entries": {Doc: "Lists values in the order of their keys.", Answer: "EntriesAnswer", Errors: "prefix.invalid cursor.invalid", Body: `
		prefix string Only keys that begin with it.` + read + `
		max_age_ms count A cached answer of up to this age, in ms, will do; default 0: none.` + past + page},
	"agent.history": {Doc: "Lists the versions of a value, newest first.", Answer: "VersionsAnswer", Errors: "state.not_found cursor.invalid", Body: `
		key! key The entry.
		losers bool Also the writes that lost.` + page},
	"agent.lifecycle": {Doc: "Reads the phase of an agent.", Answer: "LifecycleAnswer", Body: read + past},
	"agent.timeline": {Doc: "Lists all events of an agent, newest first: entries, losing writes, lifecycle, configuration, and tasks that it held.", Answer: "TimelineAnswer", Errors: "cursor.invalid", Body: `
		from any The oldest event: a revision (a number) or a time (a string), included.
		to any The newest event: a revision or a time, included.` + page},
	"agent.diff": {Doc: "Compares the entries of an agent at two points, and names the events between them.", Answer: "DiffAnswer", Errors: "cursor.invalid", Body: `
		from! any A revision (a number) or a time (a string).
		to any A revision or a time; default: now.` + page},
	"agents.list": {Doc: "Lists agents in the order of their ids.", Answer: "AgentsAnswer", Errors: "phase.unknown sql.off", Body: `
		phase cold|hydrating|active|flushing|expired Only agents in this phase.` + list},
	"task.get":     {Doc: "Reads a task.", Answer: "TaskAnswer", Errors: "task.not_found", Body: read + past},
	"task.history": {Doc: "Lists the states of a task, newest first.", Answer: "TaskVersionsAnswer", Errors: "task.not_found", Body: page},
	"tasks.list": {Doc: "Lists tasks in the order of their ids.", Answer: "TasksAnswer", Errors: "status.unknown sql.off", Body: `
		status created|started|completed|failed|cancelled Only tasks in this status.
		agent_id id Only tasks of this agent.
		kind id Only tasks of this kind.` + list},
	"state.find": {Doc: "Finds values by their content. Needs --search.", Answer: "EntriesAnswer", Errors: "search.off search.slow path.invalid text.invalid agent_prefix.invalid key_prefix.invalid sql.off", Body: `
		agent_prefix string Only agents whose ids begin with it.
		key key Only this key.
		key_prefix string Only keys that begin with it.
		contains any JSON that the value contains, as the operator @> of PostgreSQL's jsonb.
		path string A predicate in SQL/JSON path.
		text string Words that are in the value.` + read + page},
	"session.get":     {Doc: "Reads a session.", Answer: "SessionAnswer", Errors: "session.not_found", Body: read + past},
	"session.history": {Doc: "Lists the states of a session, newest first.", Answer: "SessionVersionsAnswer", Errors: "session.not_found", Body: page},
	"sessions.list": {Doc: "Lists sessions in the order of their ids.", Answer: "SessionsAnswer", Errors: "status.unknown sql.off", Body: `
		owner id Only sessions of this owner.
		status open|closed|expired Only sessions in this status.` + list},
	"claim.get":     {Doc: "Reads a claim.", Answer: "ClaimAnswer", Errors: "claim.not_found", Body: read + past},
	"claim.history": {Doc: "Lists the states of a claim, newest first.", Answer: "ClaimVersionsAnswer", Errors: "claim.not_found", Body: page},
	"claims.list": {Doc: "Lists claims in the order of their ids.", Answer: "ClaimsAnswer", Errors: "status.unknown sql.off", Body: `
		owner id Only claims of this owner.
		status held|released|expired Only claims in this status.` + list},
	"reminder.get":     {Doc: "Reads a reminder.", Answer: "ReminderAnswer", Errors: "reminder.not_found", Body: read + past},
	"reminder.history": {Doc: "Lists the states of a reminder, newest first.", Answer: "ReminderVersionsAnswer", Errors: "reminder.not_found", Body: page},
	"reminders.list": {Doc: "Lists reminders in the order of their ids.", Answer: "RemindersAnswer", Errors: "status.unknown sql.off", Body: `
		status active|done|cancelled Only reminders in this status.
		agent_id id Only reminders for this agent.` + list},
	"view.definition": {Doc: "Reads the definition of a declared view.", Answer: "ViewAnswer", Errors: "view.not_found", Body: read + past},
	"view.history":    {Doc: "Lists the definitions of a declared view, newest first.", Answer: "ViewVersionsAnswer", Errors: "view.not_found", Body: page},
	"views.list": {Doc: "Lists declared views in the order of their names.", Answer: "ViewsAnswer", Errors: "status.unknown sql.off", Body: `
		status defined|removed Only views in this status.` + list},
	"view.get": {Doc: "Reads a row of a declared view.", Answer: "RowAnswer", Errors: "view.not_found view.row_not_found read.behind sql.off", Body: `
		key! string The key of the row.` + read},
	"view.list": {Doc: "Lists rows of a declared view in the order of their keys.", Answer: "RowsAnswer", Errors: "view.not_found where.unknown_column where.invalid read.behind sql.off", Body: `
		where object Columns and the values that they must have.` + read + page},
	"config.get": {Doc: "Reads a configuration entry of an agent.", Answer: "EntryAnswer", Errors: "config.not_found", Body: `
		key! key The entry.` + read + past},
	"config.entries": {Doc: "Lists the configuration of an agent in the order of the keys.", Answer: "EntriesAnswer", Body: `
		prefix string Only keys that begin with it.` + read + `
		max_age_ms count A cached answer of up to this age, in ms, will do; default 0: none.` + past + page},
	"config.history": {Doc: "Lists the versions of a configuration entry, newest first.", Answer: "ConfigVersionsAnswer", Errors: "config.not_found", Body: `
		key! key The entry.` + page},
	"message.inbox": {Doc: "Lists the messages to an agent and the broadcasts, newest first.", Answer: "InboxAnswer", Errors: "kind.unknown sql.off", Body: `
		kind direct|broadcast Only these.
		broadcasts bool false leaves broadcasts out; default true.
		unread bool Only messages that the agent has not read.` + read + `
		max_age_ms count A cached answer of up to this age, in ms, will do; default 0: none.` + page},
	"message.history": {Doc: "Lists what an agent has marked as read, newest first.", Answer: "ReadVersionsAnswer", Errors: "inbox.not_found", Body: page},
	"events.read": {Doc: "Reads events of a journal partition, oldest first: journal and archive as one sequence.", Answer: "EventsAnswer",
		Errors: "subject.invalid partition.invalid until.invalid event.too_large archive.incomplete engine.older", Body: `
		subject string NATS pattern of names below events., such as agent.a1.>; default: all.
		from count The first revision; default 1.
		until count The last revision; default: none.
		partition count The partition; default: that of the id in subject, or the only one.
		limit integer(1..1000) Events of a page; default 100.
		wait_ms integer(0..30000) How long to wait for an event if there is none, in ms; default 2000.`},
	"command.get":   {Doc: "Reads the receipt or error of a durable command, for 24 hours.", Answer: "Outcome", Errors: "command.not_found outcomes.unavailable"},
	"engine.status": {Doc: "Reads the state of the engine, its servers and views.", Answer: "Status"},
}
