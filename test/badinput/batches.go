package badinput

import (
	"strings"
)

// Requires are bad requirements, as the element of the member require of a batch.
func Requires() (all []Case) {
	for _, c := range []struct {
		element string
		status  int
		code    string
		place   string
	}{
		{`1`, 400, "body.invalid", "require 0"},
		{`"agent.a1"`, 400, "body.invalid", "must be a JSON object"},
		{`{}`, 400, "body.missing_field", `"subject" is missing`},
		{`{"subject":null,"version":1}`, 400, "body.missing_field", `"subject" is missing`},
		{`{"subject":1,"version":1}`, 400, "body.invalid", "/subject"},
		{`{"subject":"","version":1}`, 400, "require.unknown", "agent, claim, config, session, task"},
		{`{"subject":"agent","key":"k","version":1}`, 400, "require.unknown", "<aggregate>.<id>"},
		{`{"subject":"message.m1","version":1}`, 400, "require.unknown", "message.m1"},
		{`{"subject":"agent.a1.set","key":"k","version":1}`, 400, "id.invalid", "dot"},
		{`{"subject":"agent.*","key":"k","version":1}`, 400, "id.invalid", "'*'"},
		{`{"subject":"agent.kv","key":"k","version":1}`, 400, "id.invalid", "reserved"},
		{`{"subject":"agent.a1","version":1}`, 400, "body.missing_field", `"key" is missing`},
		{`{"subject":"agent.a1","key":"k"}`, 400, "body.missing_field", `"version" is missing`},
		{`{"subject":"agent.a1","key":"k","version":null}`, 400, "body.missing_field", `"version" is missing`},
		{`{"subject":"agent.a1","key":"a..b","version":1}`, 400, "key.invalid", "two dots"},
		{`{"subject":"agent.a1","key":"","version":1}`, 400, "key.invalid", "empty"},
		{`{"subject":"agent.a1","key":1,"version":1}`, 400, "body.invalid", "/key"},
		{`{"subject":"agent.a1","key":"k","version":-1}`, 400, "body.invalid", "/version"},
		{`{"subject":"agent.a1","key":"k","version":1.5}`, 400, "body.invalid", "/version"},
		{`{"subject":"agent.a1","key":"k","version":"1"}`, 400, "body.invalid", "/version"},
		{`{"subject":"agent.a1","key":"k","version":18446744073709551616}`, 400, "body.invalid", "/version"},
		{`{"subject":"agent.a1","key":"k","version":1,"owner":"o"}`, 400, "body.unknown_field", "/owner"},
		{`{"subject":"agent.a1","key":"k","version":1,"nope":1}`, 400, "body.unknown_field", "/nope"},
		{`{"subject":"agent.a1","key":"k","version":1,"version":2}`, 400, "json.invalid", "version"},
		{`{"subject":"task.t1","key":"k","version":1}`, 400, "body.unknown_field", "/key"},
		{`{"subject":"task.t1"}`, 400, "body.missing_field", `"version" is missing`},
		{`{"subject":"task.a b","version":1}`, 400, "id.invalid", "' '"},
		{`{"subject":"claim.c1","owner":""}`, 400, "id.invalid", "owner is empty"},
		{`{"subject":"claim.c1","owner":7}`, 400, "body.invalid", "/owner"},
		{`{"subject":"claim.` + strings.Repeat("c", 129) + `","owner":"o"}`, 400, "id.invalid", "129"},
		{`{"subject":"claim.c1"}`, 400, "body.missing_field", `"version" is missing`},
		{`{"subject":"task.t1","version":7}`, 409, "require.failed", "task.t1 must be at version 7, it is at 0"},
		{`{"subject":"claim.c1","owner":"o"}`, 409, "require.failed", "claim.c1 must be held by o, it is not held"},
	} {
		all = append(all, Case{Request{Body: c.element}, c.status, c.code, c.place})
	}
	return all
}
