package contract

// request ends the data of every event of a command.
const request = `
	request! string Fingerprint of the command's verb and body.`

var eventShapes = map[string]Type{
	"StateWritten": {"Data of a write.", `
		value any As it was sent, or as it was computed; missing in a deletion.
		strategy string The conflict strategy in force; missing in configuration.` + request + `
		origin @Origin The entry that a fork has copied.
		erased bool Of a deletion: the erasure of the agent has deleted the entry.
		reverted @Reversion The state that a revert has brought back.`},
	"Reversion": {"The state that an entry was brought back to.", `
		version! count Of the entry then; 0 = it did not exist.
		revision! count Of the event of that version; 0 = there is none.
		to_version count As the revert asked.
		to_revision count As the revert asked.
		to_time time As the revert asked.
		reason string Why.`},
	"Origin": {"The state that a forked agent starts from.", `
		agent! id The agent.
		partition! count Its partition.
		revision! count Of that partition, as of which it was copied.
		at_time time If the fork asked for a time.
		keys count Entries; of the fork, not of an entry.`},
	"StateLost": {"Data of a write that lost.", `
		verb! string set, merge, add, append, revert or delete.
		value any What was to be written.
		strategy string The conflict strategy in force.` + request + `
		reason string Error code of a rejection.
		message string Error message of a rejection.
		current_version! count Of the entry that it lost against; 0 = it did not exist.
		current_revision! count Of the entry that it lost against; 0 where current_before says it.
		current_before count Of a loss against a write of the same batch: how many revisions before this event that write is.`},
	"LifecycleChanged": {"Data of the events of a lifecycle.", `
		reason string Why.
		keys []string? Keys that were hydrated, flushed or removed from KV.
		more count Further keys that are not named.
		revision count Of a flush: up to which SQL has the agent's changes.
		origin @Origin Of a fork.
		erasure @Erasure Of an erasure.
		reverted @AgentReversion Of a revert.` + request},
	"AgentReversion": {"What a revert of all entries has done.", `
		to_version count As the revert asked.
		to_revision count As the revert asked.
		to_time time As the revert asked.
		keys count Entries that it has changed, once it is done.
		follows count Events of the same append after this one.`},
	"Erasure": {"What an erasure has removed.", `
		entries! count State entries.
		config! count Configuration entries.
		tasks! count Tasks that belonged to the agent.
		sessions! count Sessions that it owned.
		claims count Claims that it held.
		reminders count Reminders whose commands went to it.
		data_keys! []string? Ids of the destroyed keys.
		more count Further keys that are not named.`},
	"TaskCreated": {"Data of task.created.", `
		kind! string What kind of work it is.
		payload any What the worker needs.
		agent_id id The agent that it is for.
		priority integer(1..10) 10 first.
		deadline time When it ends by itself.
		retry @Retry Repetition after a failure.` + request},
	"TaskStarted": {"Data of task.started.", `
		agent_id! id The agent that works on it.
		lease_ms count Length of the lease, in ms; missing: there is none.
		fence count Version of this event.
		claim_id id Command id of the claim.` + request},
	"TaskProgressed": {"Data of task.progressed.", `
		percent number(0..100) How much is done.
		note string What is being done.` + request},
	"TaskCompleted": {"Data of task.completed.", `
		result any What came of it.` + request},
	"TaskEnded": {"Data of task.failed and task.cancelled.", `
		reason string Why; one word of a failure.
		detail string Free text for reason.
		followed bool Another event of the same command follows.` + request},
	"TaskRetried": {"Data of task.retried.", `
		not_before time No claim before.` + request},
	"TaskLeaseExpired": {"Data of task.lease_expired.", `
		agent_id! id The agent that held the lease.
		fence! count Version of its start.
		followed bool Another event of the same command follows.` + request},
	"SessionOpened": {"Data of session.opened.", `
		owner! string The agent or user that it belongs to.
		ttl_seconds! count How long it stays open without a put or touch, in seconds.` + request},
	"SessionPut": {"Data of session.put.", `
		key! key The member.
		value! any As it was sent.` + request},
	"Plain": {"Data of events that need none.", request},
	"ClaimAcquired": {"Data of claim.acquired.", `
		owner! id Who holds it.
		lease_ms count Length of the lease, in ms; missing: until it is released.
		data any What the owner has noted.
		fence! count Version of this event.` + request},
	"ClaimRenewed": {"Data of claim.renewed.", `
		lease_ms count The new lease, in ms; missing: until it is released.
		data any Missing: as before.` + request},
	"ClaimEnded": {"Data of claim.released and claim.expired.", `
		taken_by id The owner whose command has found the lease run out.` + request},
	"ReminderScheduled": {"Data of reminder.set.", `
		at time The only due time.
		every_ms count From one due time to the next, in ms.
		cron string Five fields.
		timezone string Of cron.
		until time No due time after it.
		count count The largest number of firings.
		missed! string one, all or skip.
		command! @ReminderCommand The command that is sent.
		agent_id id The agent that it is for.
		owner id The agent whose key encrypts the content.
		set_by id The principal that the command is sent as.
		next_at! time The first due time.` + request},
	"ReminderDue": {"Data of reminder.due.", `
		due! time The due time.
		command_id! id Of the command that is sent.
		missed_count count Earlier due times that this firing stands for.
		next_at time The next due time; missing: there is none.` + request},
	"ReminderFired": {"Data of reminder.fired.", `
		due! time The due time.
		command_id! id Of the command that was sent.
		outcome! accepted|superseded|unchanged|refused What came of it.
		error @ReminderError Why it was refused.
		version count Of the command's aggregate.
		revision count Of the command's event.` + request},
	"ReminderMissed": {"Data of reminder.missed.", `
		count! count Due times.
		first! time The first of them.
		last! time The last of them.
		next_at time The next due time; missing: there is none.` + request},
	"ReminderEnded": {"Data of reminder.done.", `
		reason! at|count|until Why there is no further due time.
		fired! count Firings.` + request},
	"ViewDefined": {"Data of view.defined.", `
		definition! @ViewDefinition The definition.
		set_by id The principal that has defined it.` + request},
	"MessageSent": {"Data of message.sent.", `
		kind! direct|broadcast|notification What it is.
		to id The recipient of a direct message.
		type string Of a notification.
		body! any As it was sent.` + request},
	"InboxRead": {"Data of message.read.", `
		up_to count All messages up to this mark.
		marks []count Single messages.` + request},
	"RequireDeclared": {"Data of require.declared.", `
		checks! count Events that follow in the same append.`},
	"RequireChecked": {"Data of require.checked.", `
		name! string The aggregate.
		version! count 0 = it did not exist.
		revision! count Of its last event.`},
}
