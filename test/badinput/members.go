package badinput

import (
	"fmt"
	"strings"
	"time"
)

// badMembers are members of the other aggregates' commands.
func badMembers(now time.Time) (all []Case) {
	for _, c := range []struct{ subject, body, code, place string }{
		{"task.t1.create", `{"kind":""}`, "id.invalid", "kind is empty"},
		{"task.t1.create", `{"kind":"a b"}`, "id.invalid", `kind "a b" has ' '`},
		{"task.t1.create", `{"kind":"a.b"}`, "id.invalid", "kind"},
		{"task.t1.create", `{"kind":"k","priority":0}`, "priority.invalid", "1 to 10"},
		{"task.t1.create", `{"kind":"k","priority":11}`, "priority.invalid", "1 to 10"},
		{"task.t1.create", `{"kind":"k","priority":-1}`, "priority.invalid", "1 to 10"},
		{"task.t1.create", `{"kind":"k","priority":1.5}`, "body.invalid", "/priority"},
		{"task.t1.create", `{"kind":"k","priority":"1"}`, "body.invalid", "/priority"},
		{"task.t1.create", `{"kind":"k","priority":9223372036854775808}`, "body.invalid", "/priority"},
		{"task.t1.create", `{"kind":"k","agent_id":"kv"}`, "id.invalid", "reserved"},
		{"task.t1.create", `{"kind":"k","agent_id":"a.b"}`, "id.invalid", "agent id"},
		{"task.t1.create", `{"kind":"k","agent_id":1}`, "body.invalid", "/agent_id"},
		{"task.t1.create", `{"kind":"k","deadline":1780833600}`, "body.invalid", "/deadline"},
		{"task.t1.create", `{"kind":"k","deadline":"` + now.Add(-time.Hour).Format(time.RFC3339) + `"}`, "deadline.past", "not ahead"},
		{"task.t1.create", `{"kind":"k","deadline":"1970-01-01T00:00:00Z"}`, "deadline.past", "not ahead"},
		{"task.t1.start", `{"agent_id":""}`, "id.invalid", "agent id is empty"},
		{"task.t1.start", `{"agent_id":"kv"}`, "id.invalid", "reserved"},
		{"task.t1.start", `{"agent_id":"a>"}`, "id.invalid", "'>'"},
		{"task.t1.progress", `{"percent":101}`, "percent.invalid", "percent"},
		{"task.t1.progress", `{"percent":-0.1}`, "percent.invalid", "percent"},
		{"task.t1.progress", `{"percent":"50"}`, "body.invalid", "/percent"},
		{"task.t1.progress", `{"note":5}`, "body.invalid", "/note"},
		{"task.t1.fail", `{"reason":""}`, "reason.invalid", "reason"},
		{"task.t1.fail", `{"reason":"out of memory"}`, "reason.invalid", `"out of memory"`},
		{"task.t1.fail", `{"reason":"a.b"}`, "reason.invalid", "reason"},
		{"task.t1.fail", `{"reason":"boom*"}`, "reason.invalid", "reason"},
		{"task.t1.fail", `{"reason":">"}`, "reason.invalid", "reason"},
		{"task.t1.fail", `{"reason":"` + strings.Repeat("r", 129) + `"}`, "reason.invalid", "128"},
		{"task.t1.fail", `{"reason":"r","detail":{}}`, "body.invalid", "/detail"},
		{"task.t1.cancel", `{"reason":7}`, "body.invalid", "/reason"},
		{"session.s1.open", `{"owner":""}`, "id.invalid", "owner is empty"},
		{"session.s1.open", `{"owner":"a b"}`, "id.invalid", "owner"},
		{"session.s1.open", `{"owner":"o","ttl":0}`, "ttl.invalid", "ttl"},
		{"session.s1.open", `{"owner":"o","ttl":-1}`, "ttl.invalid", "ttl"},
		{"session.s1.open", `{"owner":"o","ttl":2592001}`, "ttl.invalid", "2592000"},
		{"session.s1.open", `{"owner":"o","ttl":9223372036854775807}`, "ttl.invalid", "2592000"},
		{"session.s1.open", `{"owner":"o","ttl":9223372036854775808}`, "body.invalid", "/ttl"},
		{"session.s1.open", `{"owner":"o","ttl":1e3}`, "body.invalid", "/ttl"},
		{"session.s1.open", `{"owner":"o","ttl":"60"}`, "body.invalid", "/ttl"},
		{"session.s1.put", `{"key":"","value":1}`, "key.invalid", "key is empty"},
		{"session.s1.put", `{"key":"a..b","value":1}`, "key.invalid", "two dots"},
		{"config.a1.set", `{"key":"","value":1}`, "key.invalid", "key is empty"},
		{"config.a1.set", `{"key":"*","value":1}`, "key.invalid", "'*'"},
		{"config.kv.set", `{"key":"k","value":1}`, "id.invalid", "reserved"},
		{"config.a1.set", `{"key":"k","value":1,"expected_version":-1}`, "body.invalid", "/expected_version"},
		{"config.a1.unset", `{"key":"k","value":1}`, "body.unknown_field", "/value"},
		{"config.a1.unset", `{"key":".k"}`, "key.invalid", "begins with a dot"},
		{"message.a1.direct", `{"to":"","body":1}`, "id.invalid", "agent id is empty"},
		{"message.a1.direct", `{"to":"kv","body":1}`, "id.invalid", "reserved"},
		{"message.a1.direct", `{"to":"b.c","body":1}`, "id.invalid", "dot"},
		{"message.a1.direct", `{"to":"b","type":"t","body":1}`, "body.unknown_field", "/type"},
		{"message.a1.broadcast", `{"to":"b","body":1}`, "body.unknown_field", "/to"},
		{"message.a1.broadcast", `{"to":"","body":1}`, "body.unknown_field", "/to"},
		{"message.a1.notify", `{"type":"","body":1}`, "id.invalid", "type is empty"},
		{"message.a1.notify", `{"type":"a.b","body":1}`, "id.invalid", "type"},
		{"message.a1.notify", `{"type":"t","to":"b","body":1}`, "body.unknown_field", "/to"},
		{"message.a1.read", `{"up_to":0}`, "up_to.invalid", "0 is not the mark"},
		{"message.a1.read", `{"up_to":-1}`, "up_to.invalid", "-1"},
		{"message.a1.read", `{"up_to":9223372036854775807}`, "up_to.invalid", "9223372036854775807"},
		{"message.a1.read", `{"up_to":9223372036854775808}`, "body.invalid", "/up_to"},
		{"message.a1.read", `{"up_to":1.5}`, "body.invalid", "/up_to"},
		{"message.a1.read", `{"up_to":"m1"}`, "body.invalid", "/up_to"},
		{"message.a1.read", `{"marks":[]}`, "marks.invalid", "1 to 1000"},
		{"message.a1.read", `{"marks":[` + strings.Repeat("1,", 1000) + `1]}`, "marks.invalid", "these are 1001"},
		{"message.a1.read", `{"marks":[1,0]}`, "marks.invalid", "0 is not the mark"},
		{"message.a1.read", `{"up_to":1,"marks":[9223372036854775807]}`, "marks.invalid", "9223372036854775807"},
		{"message.a1.read", `{"marks":[1,"m1"]}`, "body.invalid", "/marks/1"},
		{"message.a1.read", `{"marks":1}`, "body.invalid", "/marks"},
		{"message.a1.read", `{"up_to":1,"ids":["m1"]}`, "body.unknown_field", "/ids"},
		{"message.kv.read", `{"up_to":1}`, "id.invalid", "reserved"},
		{"agent.a1.hydrate", `{"reason":1}`, "body.invalid", "/reason"},
		{"agent.a1.flush", `{"keys":["k"]}`, "body.unknown_field", "/keys"},
		{"agent.a1.expire", `[]`, "body.invalid", "must be a JSON object, not a JSON array"},
		{"task.t1.create", `{"kind":{}}`, "body.invalid", "\"/kind\" (a JSON object): must be a string"},
		{"agent.a1.retire", `{"reason":"r","reason":"s"}`, "json.invalid", "/reason"},
		{"agent.a1.heartbeat", `{"status":1e309}`, "json.invalid", "/status"},
		{"agent.a1.erase", `{"reason":""}`, "reason.invalid", "reason is empty"},
		{"agent.a1.erase", `{"reason":" \t"}`, "reason.invalid", "reason is empty"},
		{"agent.a1.erase", `{"reason":1}`, "body.invalid", "/reason"},
		{"agent.a1.erase", `{"reason":"r","key":"k"}`, "body.unknown_field", "/key"},
		{"agent.b1.fork", `{"from":""}`, "id.invalid", "agent id is empty"},
		{"agent.b1.fork", `{"from":"kv"}`, "id.invalid", "reserved"},
		{"agent.b1.fork", `{"from":"a1","at_revision":1,"at_time":"2026-01-01T00:00:00Z"}`, "body.invalid", "exclude"},
		{"agent.b1.fork", `{"from":"a1","at_revision":-1}`, "body.invalid", "/at_revision"},
		{"agent.a1.revert", `{"key":"","to_version":1}`, "key.invalid", "empty"},
		{"agent.a1.revert", `{"key":"a..b","to_version":1}`, "key.invalid", "dot"},
		{"agent.a1.revert", `{"key":null,"to_revision":1}`, "body.invalid", `"/key" (a JSON null)`},
		{"agent.a1.revert", `{"key":7,"to_revision":1}`, "body.invalid", "/key"},
		{"agent.a1.revert", `{"to_version":1}`, "body.invalid", "to_version needs a key"},
		{"agent.a1.revert", `{"key":"k","to_version":0}`, "to_version.invalid", "count from 1"},
		{"agent.a1.revert", `{"key":"k","to_version":-1}`, "body.invalid", "/to_version"},
		{"agent.a1.revert", `{"key":"k","to_version":1.5}`, "body.invalid", "/to_version"},
		{"agent.a1.revert", `{"key":"k","to_version":"1"}`, "body.invalid", "/to_version"},
		{"agent.a1.revert", `{"to_revision":18446744073709551616}`, "body.invalid", "/to_revision"},
		{"agent.a1.revert", `{"key":"k","to_version":1,"to_revision":1}`, "body.invalid", "exclude"},
		{"agent.a1.revert", `{"to_revision":1,"to_time":"2026-01-01T00:00:00Z"}`, "body.invalid", "exclude"},
		{"agent.a1.revert", `{"to_revision":1,"expected_version":1}`, "body.invalid", "expected_version needs a key"},
		{"agent.a1.revert", `{"key":"k","to_version":1,"value":1}`, "body.unknown_field", "/value"},
		{"agent.a1.revert", `{"key":"k","to_version":1,"reason":1}`, "body.invalid", "/reason"},
		{"agent.a1.revert", `{"to_time":"` + now.Add(time.Hour).Format(time.RFC3339) + `"}`, "timestamp.future", "ahead"},
		{"agent.b1.fork", `{"from":"a1","at_time":"` + now.Add(time.Hour).Format(time.RFC3339) + `"}`, "timestamp.future", "ahead"},
	} {
		all = append(all, Case{command(c.subject, c.body), 400, c.code, c.place})
	}
	for _, text := range append([]string{"0001-01-01T00:00:00Z"}, badTimes...) {
		all = append(all,
			Case{command("task.t1.create", `{"kind":"k","deadline":"`+text+`"}`), 400, "timestamp.invalid", "deadline"},
			Case{command("agent.a1.revert", `{"key":"k","to_time":"`+text+`"}`), 400, "timestamp.invalid", "to_time"},
			Case{command("agent.b1.fork", `{"from":"a1","at_time":"`+text+`"}`), 400, "timestamp.invalid", "at_time"})
	}
	for _, c := range [][2]string{
		{"task.*.create", `{"kind":"k"}`}, {"session.*.open", `{"owner":"o"}`}, {"config.*.set", `{"key":"k","value":1}`},
		{"message.*.broadcast", `{"body":1}`}, {"message.*.read", `{"up_to":1}`}, {"agent.*.heartbeat", `{}`}, {"agent.*.expire", `{}`}, {"agent.*.fork", `{"from":"a"}`},
		{"agent.*.revert", `{"to_revision":1}`},
		{"claim.*.acquire", `{"owner":"o"}`}, {"claim.*.renew", `{"owner":"o","fence":1}`}, {"claim.*.release", `{"owner":"o","fence":1}`},
	} {
		for id, place := range map[string]string{"a.b": "2 tokens", "v1.2.3": "3 tokens", "a$b": "'$'", "é": "'é'", strings.Repeat("i", 129): "129"} {
			all = append(all, Case{command(strings.Replace(c[0], "*", id, 1), c[1]), 400, "id.invalid", place})
		}
	}
	return all
}

// badPayloads are values that cannot be stored, in every member that takes one.
func badPayloads() (all []Case) {
	for _, in := range [][3]string{
		{"task.t1.create", `{"kind":"k","payload":`, "/payload"}, {"task.t1.complete", `{"result":`, "/result"}, {"config.a1.set", `{"key":"k","value":`, "/value"},
		{"agent.a1.merge", `{"key":"k","value":`, "/value"}, {"agent.a1.add", `{"key":"k","delta":`, "/delta"}, {"agent.a1.append", `{"key":"k","items":`, "/items"},
		{"session.s1.put", `{"key":"k","value":`, "/value"}, {"message.a1.broadcast", `{"body":`, "/body"}, {"agent.a1.heartbeat", `{"status":`, "/status"},
		{"claim.c1.acquire", `{"owner":"o","data":`, "/data"},
	} {
		for _, value := range []string{
			`"\u0000"`, `{"\u0000":1}`, `"\ud800"`, `"\udc00"`, `{"a":1,"a":1}`, `[{"b":{"c":1,"c":2}}]`, `1e309`, `-1e-309`, strings.Repeat("7", 41), "\"\xff\"",
			strings.Repeat("[", 65) + strings.Repeat("]", 65), strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65),
		} {
			all = append(all, Case{command(in[0], in[1]+value+"}"), 400, "json.invalid", in[2]})
		}
		if strings.Contains("agent.a1.merge agent.a1.add agent.a1.append", in[0]) {
			continue // they do not take a string
		}
		all = append(all, Case{command(in[0], in[1]+`"`+strings.Repeat("v", 256<<10)+`"}`), 413, "value.too_large", "262144"})
	}
	return all
}

// missingMembers lack a required member, or have null for it.
func missingMembers() (all []Case) {
	for _, c := range [][3]string{
		{"agent.a1.set", `{"value":1}`, "key"}, {"agent.a1.set", `{"key":"k"}`, "value"}, {"agent.a1.delete", `{}`, "key"}, {"agent.b1.fork", `{}`, "from"}, {"agent.a1.erase", `{}`, "reason"}, {"agent.a1.erase", `{"reason":null}`, "reason"},
		{"agent.b1.fork", `{"from":null}`, "from"}, {"agent.a1.merge", `{"value":{}}`, "key"}, {"agent.a1.merge", `{"key":"k"}`, "value"},
		{"agent.a1.merge", `{"key":"k","value":null}`, "value"}, {"agent.a1.add", `{"delta":1}`, "key"}, {"agent.a1.add", `{"key":"k","min":0}`, "delta"},
		{"agent.a1.revert", `{"key":"k"}`, "to_version, to_revision or to_time"}, {"agent.a1.revert", `{"to_time":""}`, "to_version, to_revision or to_time"},
		{"agent.a1.add", `{"key":"k","delta":null}`, "delta"}, {"agent.a1.append", `{"items":[]}`, "key"}, {"agent.a1.append", `{"key":"k"}`, "items"},
		{"agent.a1.append", `{"key":null,"items":[]}`, "key"}, {"agent.a1.append", `{"key":"k","items":null}`, "items"}, {"task.t1.create", `{}`, "kind"}, {"task.t1.create", `{"kind":null}`, "kind"}, {"task.t1.create", ``, "kind"},
		{"task.t1.start", `{}`, "agent_id"}, {"task.t1.start", `{"agent_id":null}`, "agent_id"}, {"task.t1.fail", `{}`, "reason"},
		{"task.t1.fail", `{"detail":"d"}`, "reason"}, {"task.t1.fail", `{"reason":null}`, "reason"}, {"session.s1.open", `{}`, "owner"},
		{"session.s1.open", `{"ttl":60}`, "owner"}, {"session.s1.open", `{"owner":null}`, "owner"}, {"session.s1.put", `{"value":1}`, "key"},
		{"session.s1.put", `{"key":"k"}`, "value"}, {"session.s1.put", `{"key":null,"value":1}`, "key"}, {"config.a1.set", `{"value":1}`, "key"},
		{"config.a1.set", `{"key":"k"}`, "value"}, {"config.a1.unset", `{}`, "key"}, {"message.a1.direct", `{"body":1}`, "to"},
		{"message.a1.direct", `{"to":null,"body":1}`, "to"}, {"message.a1.direct", `{"to":"b"}`, "body"}, {"message.a1.broadcast", `{}`, "body"}, {"message.a1.read", `{}`, "up_to or marks"}, {"message.a1.read", `{"up_to":null,"marks":null}`, "up_to or marks"},
		{"claim.c1.acquire", `{}`, "owner"}, {"claim.c1.acquire", `{"owner":null,"lease_ms":1}`, "owner"}, {"claim.c1.renew", `{"fence":1}`, "owner"},
		{"claim.c1.renew", `{"owner":"o"}`, "fence"}, {"claim.c1.renew", `{"owner":"o","fence":null}`, "fence"}, {"claim.c1.release", `{"fence":1}`, "owner"},
		{"claim.c1.release", `{"owner":"o"}`, "fence"}, {"claim.c1.release", ``, "owner"},
		{"message.a1.notify", `{"body":1}`, "type"}, {"message.a1.notify", `{"type":"t"}`, "body"}, {"message.a1.notify", `{"type":null,"body":1}`, "type"},
	} {
		all = append(all, Case{command(c[0], c[1]), 400, "body.missing_field", fmt.Sprintf("%q is missing", c[2])})
	}
	for subject, body := range map[string]string{
		"task.t1.create": `{"kind":"k",`, "task.t1.start": `{"agent_id":"a",`, "task.t1.progress": `{`, "task.t1.complete": `{`, "task.t1.fail": `{"reason":"r",`,
		"task.t1.cancel": `{`, "session.s1.open": `{"owner":"o",`, "session.s1.put": `{"key":"k","value":1,`, "session.s1.touch": `{`, "session.s1.close": `{`,
		"config.a1.set": `{"key":"k","value":1,`, "config.a1.unset": `{"key":"k",`, "message.a1.direct": `{"to":"b","body":1,`, "message.a1.broadcast": `{"body":1,`,
		"message.a1.notify": `{"type":"t","body":1,`, "message.a1.read": `{"up_to":1,`, "agent.a1.hydrate": `{`, "agent.a1.flush": `{`, "agent.a1.expire": `{`, "agent.a1.retire": `{`,
		"agent.a1.heartbeat": `{`, "agent.b1.fork": `{"from":"a",`, "agent.a1.merge": `{"key":"k","value":{},`, "agent.a1.add": `{"key":"k","delta":1,`,
		"agent.a1.append": `{"key":"k","items":[],`, "agent.a1.revert": `{"key":"k","to_version":1,`, "claim.c1.acquire": `{"owner":"o",`, "claim.c1.renew": `{"owner":"o","fence":1,`, "claim.c1.release": `{"owner":"o","fence":1,`,
	} {
		all = append(all, Case{command(subject, body+`"nope":1}`), 400, "body.unknown_field", `"/nope"`},
			Case{command(subject, body+`"nope":1,"nope":2}`), 400, "json.invalid", `"/nope"`})
	}
	return all
}
