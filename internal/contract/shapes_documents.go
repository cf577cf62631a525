package contract

var documentShapes = map[string]Type{
	"TaskState": {"The state of a task.", `
		status! created|started|completed|failed|cancelled Where it is.
		kind! string What kind of work it is.
		payload any What the worker needs.
		agent_id id The agent that it is for; once started, the one that works on it.
		assigned_to id Of a started task: the agent that it was created for.
		priority integer(1..10) 10 first.
		deadline time When it ends by itself.
		retry @Retry Repetition after a failure.
		not_before time No claim before.
		attempts! count Starts.
		fence count Version of the last start.
		claim_id id Command id of the last start, if it was a claim.
		lease_ms count Length of the lease, in ms.
		lease_expires_at time When the lease ends without progress.
		percent number(0..100) How much is done.
		note string What is being done.
		result any Of a completed task.
		reason string Of a failed, cancelled or repeated task.
		detail string Free text for reason.
		failed_by id While it waits after a failure: the agent whose attempt failed.
		failure string While it waits after a failure: a digest of its reason and detail.
		created_at time When it was created.
		started_at time When the last attempt began.
		finished_at time When it ended.`},
	"TaskRow": {"A task without digest and time.", `
		task_id! id The task.
		+TaskState
		version! count Changes of the task, from 1.
		revision! count Sequence of the last event.`},
	"Task":               {"A task.", "task_id! id The task.\n+TaskState" + position},
	"TaskAnswer":         {"A task.", "+Task" + answered},
	"TasksAnswer":        {"A page of tasks.", "tasks! []@Task In the order of their ids." + listed},
	"TaskVersion":        {"A state of a task.", docVersion + "\nstate @TaskState After the event."},
	"TaskVersionsAnswer": {"A page of the history of a task.", versions("task_id! id The task.", "TaskVersion")},

	"SessionState": {"The state of a session.", `
		status! open|closed|expired Where it is.
		owner! string The agent or user that it belongs to.
		ttl_seconds! count How long it stays open without a put or touch, in seconds.
		data {}any Values by key.
		opened_at time When it was opened.
		touched_at time The last open, put or touch.
		expires_at time When it ends by itself.
		ended_at time When it ended.`},
	"Session":               {"A session.", "session_id! id The session.\n+SessionState" + position},
	"SessionAnswer":         {"A session.", "+Session" + answered},
	"SessionsAnswer":        {"A page of sessions.", "sessions! []@Session In the order of their ids." + listed},
	"SessionVersion":        {"A state of a session.", docVersion + "\nstate @SessionState After the event."},
	"SessionVersionsAnswer": {"A page of the history of a session.", versions("session_id! id The session.", "SessionVersion")},

	"ClaimState": {"The state of a claim.", `
		status! held|released|expired Where it is.
		owner! string Who holds it, or held it last.
		fence! count Version of the event with which the owner acquired it.
		lease_ms count Length of the lease, in ms; missing: held until it is released.
		data any What the owner has noted.
		acquired_at time When the owner acquired it.
		renewed_at time When the lease began.
		expires_at time When the lease ends; missing: it has none.
		ended_at time When it was released or ran out.`},
	"Claim":               {"A claim.", "claim_id! id The claim.\n+ClaimState" + position},
	"ClaimAnswer":         {"A claim.", "+Claim" + answered},
	"ClaimsAnswer":        {"A page of claims.", "claims! []@Claim In the order of their ids." + listed},
	"ClaimVersion":        {"A state of a claim.", docVersion + "\nstate @ClaimState After the event."},
	"ClaimVersionsAnswer": {"A page of the history of a claim.", versions("claim_id! id The claim.", "ClaimVersion")},

	"ReminderState": {"The state of a reminder.", `
		status! active|done|cancelled Where it is.
		at time The only due time.
		every_ms count From one due time to the next, in ms.
		cron string Five fields.
		timezone string Of cron.
		until time No due time after it.
		count count The largest number of firings.
		missed! string What happens to missed due times: one, all or skip.
		command! @ReminderCommand The command that is sent.
		agent_id id The agent that it is for.
		owner id The agent whose key encrypts the content.
		set_by id The principal that the command is sent as.
		set_at time When it was set.
		next_at time The next due time; missing: there is none.
		fired! count Firings.
		missed_count! count Due times without a firing of their own.
		pending @ReminderPending The firing under way.
		last @ReminderLast The last answered firing.
		ended_at time When it ended.`},
	"ReminderPending": {"A firing under way.", `
		due! time Its due time.
		command_id! id Of the command that is sent.
		replaced @ReminderCommand The command that is sent, if the reminder was set again since.
		set_by id The principal that it is sent as.`},
	"ReminderLast": {"A firing that was answered.", `
		due! time Its due time.
		at! time When it was answered.
		command_id! id Of the command that was sent.
		outcome! accepted|superseded|unchanged|refused What came of it.
		error @ReminderError Why it was refused.
		version count Of the command's aggregate.
		revision count Of the command's event.`},
	"ReminderError": {"Why a command was refused.", `
		code! string Stable, dotted.
		status! integer As in HTTP.
		message string For people.`},
	"Reminder":               {"A reminder.", "reminder_id! id The reminder.\n+ReminderState" + position},
	"ReminderAnswer":         {"A reminder.", "+Reminder" + answered},
	"RemindersAnswer":        {"A page of reminders.", "reminders! []@Reminder In the order of their ids." + listed},
	"ReminderVersion":        {"A state of a reminder.", docVersion + "\nstate @ReminderState After the event."},
	"ReminderVersionsAnswer": {"A page of the history of a reminder.", versions("reminder_id! id The reminder.", "ReminderVersion")},

	"ViewDefinition": {"The definition of a declared view, as the engine keeps it.", `
		name! string The name.
		from! string What the rows are made from.
		agents string Pattern of agents; missing: all.
		keys string Pattern of keys; missing: all.
		columns {}@ViewColumn Columns by name.
		group @ViewGroup One row per group of rows.
		into! []string Where the rows are written: sql, kv.`},
	"ViewState": {"The state of a declared view.", `
		status! defined|removed Where it is.
		definition! @ViewDefinition The definition; of a removed view, the last one.
		set_by id The principal that has defined it.
		defined_at time When it got its definition.
		removed_at time When it was removed.`},
	"View":               {"A declared view.", "name! string The view.\n+ViewState" + position},
	"ViewAnswer":         {"A declared view.", "+View" + answered},
	"ViewsAnswer":        {"A page of declared views.", "views! []@View In the order of their names." + listed},
	"ViewVersion":        {"A definition of a declared view.", docVersion + "\nstate @ViewState After the event."},
	"ViewVersionsAnswer": {"A page of the history of a declared view.", versions("name! string The view.", "ViewVersion")},
	"Row": {"A row of a declared view.", `
		key! string The key of the row.
		* any The columns.`},
	"RowAnswer":  {"A row of a declared view.", "row! @Row The row." + answered},
	"RowsAnswer": {"A page of a declared view.", "rows! []@Row In the order of their keys." + listed},
}
