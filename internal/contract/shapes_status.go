package contract

var statusShapes = map[string]Type{
	"Status": {"The state of an engine.", `
		version! string Of the program.
		uptime_seconds! number Since the start.
		ready! bool It takes commands.
		reasons! []string What is wrong, the worst first.
		problems []@Problem The same with component, level and time.
		storage! @StorageStatus Room for the journal, in bytes.
		nats! @NATSStatus The NATS server.
		postgres! @PostgresStatus The database.
		http! string URL of the HTTP listener.
		tls @TLSStatus The certificate of the listeners.
		data string The data directory on the engine's machine.
		durability! string What an acknowledgement promises: synced, relaxed, replicated, external.
		durability_detail! string The same as a sentence.
		journal! @JournalStatus The journal, and this engine's work on it.
		views! []@ViewStatus The views by partition.
		commands_in_flight! count Commands that are being executed.
		subject_prefix string The prefix of all subjects.
		topology @TopologyStatus The comparison with the topology document.
		audit @AuditStatus The background comparison of the tiers.
		token string Read token of the journal's heads: a read with it sees what was written before. Missing while NATS is away.`},
	"Problem": {"What prevents or endangers the work.", `
		component! string Of the engine.
		level! string degraded: commands work; stopped: they do not.
		reason! string A sentence.
		since! time Since when.`},
	"StorageStatus": {"Room for the journal, in bytes.", `
		used! count Taken.
		limit! count 0 = none that the server names.
		free count Of the file system.
		reserve count Commands are refused below this much free space.`},
	"NATSStatus": {"The NATS server.", `
		url! string Without secrets.
		mode! embedded|external Whose it is.
		state! up|away Whether it answers.
		version string Of the server.
		accounts string Where the accounts of principals are, of an external server.`},
	"PostgresStatus": {"The database.", `
		url string Without secrets.
		mode! managed|external|off Whose it is.
		state! up|away|off Whether it answers.
		reason string Why not.
		warning string What the way to it lets others do.
		version string Of the server.
		schema string Of the engine's tables.`},
	"TLSStatus": {"The certificate of the listeners.", `
		expires_at! string When it ends.
		client_certificates! bool Clients need one.
		reason string Why the files cannot be used.`},
	"JournalStatus": {"The journal, and this engine's work on it.", `
		incarnation! string Id of the journal; tokens begin with it.
		partitions! count Partitions.
		replicas! count Replicas.
		heads! []count? Last revision by partition.
		conflicts! count Appends that another write came before.
		replays! count Commands that had taken effect before.`},
	"ViewStatus": {"A view in a partition.", `
		name! string The view.
		partition! count The partition.
		position! count The last event that it has.
		head! count The last event of the journal.
		lag_events! count Events between both.
		lag_seconds! number Age of the oldest of them.
		state! string running, standby, waiting, rebuilding, halted.
		reason string Why.
		quarantined count Aggregates in quarantine.
		held []string The first of them.`},
	"TopologyStatus": {"The comparison with the topology document.", `
		file! string The document.
		things! count Streams, buckets and consumers in it.
		drift! count How many differ.
		drifted []string One line each.
		checked_at string When.
		engine []string The engine's own streams that differ.
		reason string Why the last comparison failed.`},
	"AuditStatus": {"The background comparison of the tiers.", `
		state! string running, standby or waiting.
		reason string Why.
		checked! count Aggregates since the start.
		verified_at time When the last of them was compared.
		differences! count Differences that persist.
		last_difference string The last one.
		at time When it was found.`},
}
