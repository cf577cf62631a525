package contract

var messageShapes = map[string]Type{
	"InboxMessage": {"A message in an inbox.", `
		message_id! id Its command id.
		kind! direct|broadcast To one agent, or to all.
		from! id The sender.
		to id The recipient of a direct message.
		body! any As it was sent.
		sent_at! time When the engine took it.
		sequence! count In the stream AGENT_MESSAGES.
		mark! count Where it stands in every inbox; rises.
		read! bool The agent has marked it as read.`},
	"InboxAnswer": {"A page of an inbox.", `
		messages! []@InboxMessage Newest first.
		unread! count Unread messages of the whole inbox, at most 10000.
		read_up_to! count All messages up to this mark are read; 0 = none.` + listed},
	"InboxState": {"What an agent has read.", `
		read_up_to! count All messages up to this mark; 0 = none.
		marks []count Single messages beyond it.`},
	"ReadVersion":        {"What an agent had read.", docVersion + "\nstate @InboxState After the event."},
	"ReadVersionsAnswer": {"A page of what an agent has marked as read.", versions("agent_id! id The agent.", "ReadVersion")},
	"AgentMessage": {"A message on messages.>.", `
		message_id! id Its command id.
		kind! direct|broadcast|notification What it is.
		from! id The sender.
		to id The recipient of a direct message.
		type string Of a notification.
		body! any As it was sent.
		sent_at! time When the engine took it.`},
	"Heartbeat": {"A heartbeat on agents.heartbeat.<agent>.", `
		agent_id! id The agent.
		command_id! id The command.
		status any As it was sent.
		sent_at! time When the engine took it.`},
	"ChangeNotification": {"A change that SQL has committed, on agents.state.<agent>.", `
		operation! INSERT|UPDATE|DELETE What the row did.
		agent_id! id The agent.
		state_key! key The entry.
		old_value! any Before; null = there was none.
		new_value! any After; null = there is none.
		timestamp! time The writer's time.
		revision! count Of the event.`},

	// Events.
	"Event": {"An event of the journal. Its type decides the form of data and state.", `
		type! string Type of the event.
		+EventTail
		revision count Sequence in the journal partition; in the answers of queries.`},
	"EventTail": {"Members of an event besides its type.", `
		aggregate! string agent, task, session, config, claim, message, reminder, view or require.
		id! string Of the aggregate.
		key key Of a state or configuration entry.
		version! count Position in the aggregate, from 1.
		timestamp! time The writer's time.
		recorded_at! time The engine's clock at the decision.
		writer! string As the command named it.
		actor id The authenticated sender.
		command_id! string The command that caused it.
		traceparent string W3C trace context of the command.
		tracestate string Only with traceparent.
		data! object What happened, by type.
		state object The aggregate after the event, where data alone does not say it.
		digest! digest SHA-256 over the digest before and the RFC 8785 form without it.
		schema! integer(1..) Version of the format.`},
	"EventsAnswer": {"A page of events.", `
		events! []@Event Oldest first; each with its revision.
		next! count The revision to go on from.
		head! count The last revision of the partition.
		token! token Read position.`},
	"Sealed": {"Data as the journal stores it where encryption is on.", `
		sealed! string The encrypted content, base64.
		sealed_key! string Id of the key.
		sealed_for id The agent whose key it is, of tasks, sessions, reminders and claims.`},
	"Erased": {"Data whose key was destroyed, as queries show it.", `
		erased! bool true.`},
}
