package contract

import "maps"

// position ends every row of a document.
const position = `
	updated_at! time When the last event was recorded.
	version! count Changes of the aggregate, from 1.
	revision! count Sequence of the last event in its journal partition.
	digest! digest Digest of the last event.`

// Answers of lists and of single rows.
const (
	answered = `
	source! string Who has answered: memory, kv, sql, journal or cache.
	token token Read position of the answer.`
	listed = `
	cursor cursor Where the next page begins; without it this is the last page.
	quarantined []string Quarantined aggregates that the page may lack.` + aged + answered
	aged = `
	age_ms count Age of a cached answer, in ms.`
)

// versions is a page of the history of a document with an id; kind names the shape of a row.
func versions(id, kind string) string {
	return id + `
	versions! []@` + kind + ` Newest first.` + listed
}

// docVersion are the members of a version of a document.
const docVersion = `
	type! string Type of the event.
	version! count Version of the aggregate.
	revision! count Sequence in the journal partition.
	timestamp! time The writer's time.
	recorded_at! time When the event was recorded.
	writer! string As the command named it.
	actor id The authenticated sender.
	command_id! string The command that caused it.
	digest! digest Digest of the event.
	erased bool The content was erased.`

// Shapes are the objects that bodies, answers and events are made of, by name.
var Shapes = joined(commandShapes, stateShapes, documentShapes, messageShapes, eventShapes, statusShapes)

func joined(tables ...map[string]Type) map[string]Type {
	all := map[string]Type{}
	for _, t := range tables {
		maps.Copy(all, t)
	}
	return all
}

var commandShapes = map[string]Type{
	"Receipt": {"The answer to a command.", `
		command_id! id The command.
		outcome! accepted|superseded|unchanged It took effect; it lost by its timestamp; there was nothing to do.
		aggregate! string agent, task, session, config, claim, message, reminder or view.
		id! string Of the aggregate.
		key key Of a state or configuration entry.
		version! count Changes of the aggregate, from 1; never restarts.
		revision! count Sequence in the journal partition.
		token! token Read position; of a heartbeat that of the last command that the engine has acknowledged.
		replayed! bool An earlier delivery of the command had taken effect.
		value any What merge, add or append has computed.
		keys count Entries that a revert of an agent has changed.
		erasure @ErasureReceipt What an erasure has done.`},
	"ErasureReceipt": {"What an erasure has done.", `
		entries! count State entries.
		config! count Configuration entries.
		tasks! count Tasks that belonged to the agent.
		sessions! count Sessions that it owned.
		claims! count Claims that it held.
		reminders! count Reminders whose commands went to it.
		data_keys! count Keys that were destroyed.
		complete! bool Nothing is left in read models, feeds and SQL; false: ask again with the same command id.`},
	"Error": {"A refusal, or a failure.", `
		error! @ErrorBody What is wrong.`},
	"ErrorBody": {"What is wrong, for people and programs.", `
		kind! invalid|forbidden|not_found|conflict|too_large|rejected|overloaded|unavailable|internal What the caller can do about it.
		code! string Stable, dotted, for programs.
		status! integer(400..503) The kind as a number, as in HTTP.
		message! string For people; names the cause and the place.
		details object Facts, by code.`},
	"Outcome": {"The receipt of a durable command, or its error.", `
		command_id id The command.
		outcome accepted|superseded|unchanged As in a receipt.
		aggregate string As in a receipt.
		id string As in a receipt.
		key key As in a receipt.
		version count As in a receipt.
		revision count As in a receipt.
		token token As in a receipt.
		replayed bool As in a receipt.
		value any As in a receipt.
		keys count As in a receipt.
		erasure @ErasureReceipt As in a receipt.
		error @ErrorBody Why it was refused; then it is the only member.`},
	"BatchCommand": {"A command of a batch.", `
		subject! string <aggregate>.<id>.<verb>, with or without commands. before it.
		id string Its command id; missing or empty: the engine makes one, from the id of the batch if it has one.
		body object Its body.`},
	"Requirement": {"What must hold when a batch is appended.", `
		subject! string <aggregate>.<id>.
		key key Of a state or configuration entry.
		version count The aggregate has this version; 0 = there is none.
		owner id The claim is held by it.`},
	"BatchAnswer": {"The results of a batch, in the order of its commands.", `
		results! []@BatchResult One for each command.`},
	"BatchResult": {"A receipt or an error.", `
		receipt @Receipt Of a command that was not refused.
		error @ErrorBody Of a command that was refused.`},
	"ClaimedTask": {"A task and the right to work on it.", `
		task! @TaskRow The task.
		fence! count Give it with progress, complete and fail.
		receipt! @Receipt Of the claim.`},
	"Retry": {"How often and how soon a task is tried again.", `
		max_attempts! integer(1..10000) Starts.
		backoff_ms integer(0..604800000) From a failure to the next claim, in ms; default 0.`},
	"ReminderCommand": {"The command that a reminder sends.", `
		subject! string <aggregate>.<id>.<verb>.
		body any Its body.`},
	"ViewColumn": {"A column of a declared view.", `
		path! string JSON pointer into the row, such as /value/city.
		type! text|numeric|boolean|timestamptz|jsonb Its type; a value of another one is null.`},
	"ViewGroup": {"One row per group of rows.", `
		by []string Columns; default: one row of all.
		count bool Whether there is a column count.
		sum []string Numeric columns; each has a column sum_<column>.`},
}
