package contract

const lifecycleFeed = "agents.lifecycle.<agent>.<event>"

// Events are the event types of the journal.
var Events = map[string]Event{
	"agent.state_set":        {"A value was written.", "StateWritten", "", "agents.state.<agent>.<key>"},
	"agent.state_deleted":    {"A value was deleted.", "StateWritten", "", "agents.state.<agent>.<key>"},
	"agent.state_superseded": {"A write lost by its timestamp; nothing changed.", "StateLost", "", ""},
	"agent.state_rejected":   {"A write was refused because of a conflict; nothing changed.", "StateLost", "", ""},

	"agent.hydration_started": {"SQL rows are being put into KV.", "LifecycleChanged", "LifecycleState", lifecycleFeed},
	"agent.hydrated":          {"KV has the agent's rows: it is active.", "LifecycleChanged", "LifecycleState", lifecycleFeed},
	"agent.hydration_failed":  {"A store did not answer: the phase is that of before.", "LifecycleChanged", "LifecycleState", lifecycleFeed},
	"agent.flush_started":     {"Changed keys are being written into SQL.", "LifecycleChanged", "LifecycleState", lifecycleFeed},
	"agent.flushed":           {"SQL has all changes of the agent.", "LifecycleChanged", "LifecycleState", lifecycleFeed},
	"agent.flush_failed":      {"SQL did not take the changes.", "LifecycleChanged", "LifecycleState", lifecycleFeed},
	"agent.expired":           {"The agent is idle; its rows are no longer in KV.", "LifecycleChanged", "LifecycleState", lifecycleFeed},
	"agent.retired":           {"The agent's activity has ended.", "LifecycleChanged", "LifecycleState", lifecycleFeed},
	"agent.forked":            {"The agent was made from another one's entries.", "LifecycleChanged", "LifecycleState", lifecycleFeed},
	"agent.erased":            {"The agent's keys were destroyed.", "LifecycleChanged", "LifecycleState", lifecycleFeed},
	"agent.revert_started":    {"A revert of several appends has begun.", "LifecycleChanged", "LifecycleState", lifecycleFeed},
	"agent.reverted":          {"All entries of the agent are back at a point in the past.", "LifecycleChanged", "LifecycleState", lifecycleFeed},

	"config.set":   {"A configuration entry was written.", "StateWritten", "", ""},
	"config.unset": {"A configuration entry was removed.", "StateWritten", "", ""},

	"task.created":       {"A task was created.", "TaskCreated", "TaskState", "tasks.created.<task>"},
	"task.started":       {"An agent has started or claimed a task.", "TaskStarted", "TaskState", "tasks.started.<task>.<agent>"},
	"task.progressed":    {"Progress was reported.", "TaskProgressed", "TaskState", ""},
	"task.completed":     {"A task has a result.", "TaskCompleted", "TaskState", "tasks.completed.<task>"},
	"task.failed":        {"An attempt has failed.", "TaskEnded", "TaskState", "tasks.failed.<task>.<reason>"},
	"task.retried":       {"A failed task is created again; follows task.failed in the same append.", "TaskRetried", "TaskState", "tasks.created.<task>"},
	"task.lease_expired": {"The lease ran out: the task is created again, or failed.", "TaskLeaseExpired", "TaskState", "tasks.created.<task> or tasks.failed.<task>.lease_expired"},
	"task.cancelled":     {"A task was cancelled.", "TaskEnded", "TaskState", "tasks.cancelled.<task>"},
	"task.erased":        {"The content is gone with the agent that it belonged to.", "Plain", "TaskState", ""},

	"session.opened":  {"A session was opened.", "SessionOpened", "SessionState", ""},
	"session.put":     {"A value of a session was written.", "SessionPut", "SessionState", ""},
	"session.touched": {"The time to live begins again.", "Plain", "SessionState", ""},
	"session.closed":  {"A session was closed.", "Plain", "SessionState", ""},
	"session.expired": {"A session has ended by itself.", "Plain", "SessionState", ""},
	"session.erased":  {"The content is gone with the agent that owned it.", "Plain", "SessionState", ""},

	"claim.acquired": {"An owner holds the claim.", "ClaimAcquired", "ClaimState", ""},
	"claim.renewed":  {"The lease begins again.", "ClaimRenewed", "ClaimState", ""},
	"claim.released": {"The owner has given the claim up.", "ClaimEnded", "ClaimState", ""},
	"claim.expired":  {"The lease has run out.", "ClaimEnded", "ClaimState", ""},
	"claim.erased":   {"The content is gone with the agent that held it.", "Plain", "ClaimState", ""},

	"reminder.set":       {"A schedule was set.", "ReminderScheduled", "ReminderState", ""},
	"reminder.due":       {"A due time has come: its command is under way.", "ReminderDue", "ReminderState", ""},
	"reminder.fired":     {"The command was answered.", "ReminderFired", "ReminderState", ""},
	"reminder.missed":    {"Due times have no firing.", "ReminderMissed", "ReminderState", ""},
	"reminder.cancelled": {"A reminder was cancelled.", "Plain", "ReminderState", ""},
	"reminder.done":      {"A reminder has no further due time.", "ReminderEnded", "ReminderState", ""},
	"reminder.erased":    {"The content is gone with the agent that it belonged to.", "Plain", "ReminderState", ""},

	"view.defined": {"A declared view has a definition.", "ViewDefined", "ViewState", ""},
	"view.removed": {"A declared view was removed.", "Plain", "ViewState", ""},

	"message.sent": {"An agent has sent a message. Its id is the event's command id.", "MessageSent", "", ""},
	"message.read": {"An agent has marked messages as read.", "InboxRead", "InboxState", ""},

	"require.declared": {"A batch rests on the requirements that follow in the same append.", "RequireDeclared", "", ""},
	"require.checked":  {"An aggregate was at this revision when the batch was appended.", "RequireChecked", "", ""},
}
