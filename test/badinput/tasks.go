package badinput

// badTaskClaims are claims, reports of holders and retries.
func badTaskClaims() (all []Case) {
	for _, c := range claims {
		all = append(all, Case{command("task.t1.claim", c.body), 400, c.code, c.place})
	}
	for _, verb := range []string{"progress", "complete", "fail"} {
		for _, c := range [][3]string{
			{`"agent_id":""`, "id.invalid", "agent id is empty"}, {`"agent_id":"kv"`, "id.invalid", "reserved"}, {`"agent_id":"a.b"`, "id.invalid", "agent id"},
			{`"agent_id":1`, "body.invalid", "/agent_id"}, {`"agent_id":{}`, "body.invalid", "/agent_id"}, {`"fence":"1"`, "body.invalid", "/fence"},
			{`"fence":-1`, "body.invalid", "/fence"}, {`"fence":1.5`, "body.invalid", "/fence"}, {`"fence":18446744073709551616`, "body.invalid", "/fence"},
			{`"fence":[]`, "body.invalid", "/fence"}, {`"lease_ms":1000`, "body.unknown_field", "/lease_ms"}, {`"fence":1,"fence":2`, "json.invalid", "/fence"},
		} {
			body := "{" + c[0] + "}"
			if verb == "fail" {
				body = `{"reason":"r",` + c[0] + "}"
			}
			all = append(all, Case{command("task.t1."+verb, body), 400, c[1], c[2]})
		}
	}
	for _, c := range [][3]string{
		{`{}`, "body.missing_field", `"retry/max_attempts" is missing`}, {`{"max_attempts":null}`, "body.missing_field", "max_attempts"},
		{`{"max_attempts":0}`, "retry.invalid", "1 to 10000"}, {`{"max_attempts":-1}`, "retry.invalid", "1 to 10000"}, {`{"max_attempts":10001}`, "retry.invalid", "1 to 10000"},
		{`{"max_attempts":1.5}`, "body.invalid", "/retry/max_attempts"}, {`{"max_attempts":"2"}`, "body.invalid", "/retry/max_attempts"},
		{`{"max_attempts":2,"backoff_ms":-1}`, "retry.invalid", "backoff_ms"}, {`{"max_attempts":2,"backoff_ms":604800001}`, "retry.invalid", "604800000"},
		{`{"max_attempts":2,"backoff_ms":"5s"}`, "body.invalid", "/retry/backoff_ms"}, {`{"max_attempts":2,"jitter":1}`, "body.unknown_field", "/retry/jitter"},
		{`[]`, "body.invalid", "/retry"}, {`3`, "body.invalid", "/retry"}, {`true`, "body.invalid", "/retry"},
	} {
		all = append(all, Case{command("task.t1.create", `{"kind":"k","retry":`+c[0]+`}`), 400, c[1], c[2]})
	}
	return all
}

// claims are bad bodies of task.claim, and of tasks.next too.
var claims = []struct{ body, code, place string }{
	{``, "body.missing_field", `"agent_id" is missing`},
	{`{}`, "body.missing_field", `"agent_id" is missing`},
	{`{"agent_id":null}`, "body.missing_field", `"agent_id" is missing`},
	{`{"agent_id":""}`, "id.invalid", "agent id is empty"},
	{`{"agent_id":"kv"}`, "id.invalid", "reserved"},
	{`{"agent_id":"a>"}`, "id.invalid", "'>'"},
	{`{"agent_id":"a.b"}`, "id.invalid", "agent id"},
	{`{"agent_id":7}`, "body.invalid", "/agent_id"},
	{`{"agent_id":"a","lease_ms":0}`, "lease_ms.invalid", "1 to 86400000"},
	{`{"agent_id":"a","lease_ms":-1}`, "lease_ms.invalid", "1 to 86400000"},
	{`{"agent_id":"a","lease_ms":86400001}`, "lease_ms.invalid", "1 to 86400000"},
	{`{"agent_id":"a","lease_ms":9223372036854775808}`, "body.invalid", "/lease_ms"},
	{`{"agent_id":"a","lease_ms":"30s"}`, "body.invalid", "/lease_ms"},
	{`{"agent_id":"a","lease_ms":1.5}`, "body.invalid", "/lease_ms"},
	{`{"agent_id":"a","fence":1}`, "body.unknown_field", "/fence"},
	{`{"agent_id":"a","Lease_ms":1}`, "body.unknown_field", "/Lease_ms"},
	{`{"agent_id":"a","agent_id":"b"}`, "json.invalid", "/agent_id"},
	{`["a"]`, "body.invalid", "object"},
	{`{"agent_id":"a"`, "json.invalid", "byte"},
}

// Next are bad requests on tasks.next, which has one door.
func Next() (all []Case) {
	for _, c := range claims {
		all = append(all, Case{command("tasks.next", c.body), 400, c.code, c.place})
	}
	for _, c := range [][3]string{
		{`"kind":""`, "id.invalid", "kind is empty"}, {`"kind":"a b"`, "id.invalid", "kind"}, {`"kind":"*"`, "id.invalid", "kind"}, {`"kind":1`, "body.invalid", "/kind"},
		{`"wait_ms":-1`, "wait_ms.invalid", "0 to 60000"}, {`"wait_ms":60001`, "wait_ms.invalid", "0 to 60000"}, {`"wait_ms":"5s"`, "body.invalid", "/wait_ms"},
		{`"wait_ms":1.5`, "body.invalid", "/wait_ms"}, {`"wait_ms":9223372036854775808`, "body.invalid", "/wait_ms"}, {`"limit":1`, "body.unknown_field", "/limit"},
	} {
		all = append(all, Case{command("tasks.next", `{"agent_id":"a",`+c[0]+`}`), 400, c[1], c[2]})
	}
	bad := Case{command("tasks.next", `{"agent_id":"a"}`), 400, "id.invalid", "has a dot"}
	bad.ID = "a.b"
	return append(all, bad,
		Case{command("tasks.first", `{"agent_id":"a"}`), 404, "command.unknown", "tasks.first"},
		Case{command("tasks.t1.next", `{"agent_id":"a"}`), 404, "command.unknown", "no aggregate"},
		Case{command("task.t1.next", `{"agent_id":"a"}`), 404, "command.unknown", "no verb"},
		Case{command("task.t1.expire", `{"fence":1}`), 404, "command.unknown", "no verb"})
}
