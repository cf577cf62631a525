package security

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// api are requests of the JetStream API about what is alice's or the engine's.
func (w *world) api() {
	streams := append([]string{"AUDIT", "NONE"}, engineStreams...)
	for _, s := range streams {
		for _, verb := range []string{"PURGE", "DELETE", "UPDATE", "CREATE", "SNAPSHOT", "RESTORE", "MSG.DELETE", "LEADER.STEPDOWN", "PEER.REMOVE"} {
			body := map[string]string{
				"PURGE": `{"filter":">"}`, "UPDATE": fmt.Sprintf(`{"name":%q,"sealed":true,"subjects":["x"]}`, s), "CREATE": fmt.Sprintf(`{"name":%q,"mirror":{"name":"EVENTS"}}`, s),
				"SNAPSHOT": `{"deliver_subject":"_INBOX.x"}`, "RESTORE": `{"config":{},"state":{}}`, "MSG.DELETE": `{"seq":1}`,
			}[verb]
			for _, a := range w.attackers {
				if a.dev && s == "NONE" {
					continue // a stream of its own
				}
				w.forbiddenFor(a, "change a stream", "$JS.API.STREAM."+verb+"."+s, body, nil)
			}
		}
	}
	for _, name := range []string{"TASK_EXECUTION.task-processor", "TASK_EXECUTION.feeds-position", "AGENT_MESSAGES.message-batch-processor", "COMMANDS.lane-0", "COMMANDS.none", "EVENTS.x", "NONE.x"} {
		for _, verb := range []string{"DELETE", "PAUSE", "RESET", "UNPIN", "LEADER.STEPDOWN"} {
			for _, a := range w.attackers {
				if a.dev && strings.HasPrefix(name, "NONE") || (a.dev || a.name == "worker" && strings.HasPrefix(name, "TASK")) && verb == "DELETE" {
					continue // of its own; it reads the whole stream and learns that there is no such consumer: unchanged at the end
				}
				w.forbiddenFor(a, "change a consumer", "$JS.API.CONSUMER."+verb+"."+name, `{"pause_until":"2100-01-01T00:00:00Z","seq":1,"group":"x"}`, nil)
			}
		}
	}
	for _, api := range []string{"META.LEADER.STEPDOWN", "SERVER.REMOVE", "ACCOUNT.PURGE.X", "ACCOUNT.STREAM.MOVE.X.EVENTS", "STREAM.TEMPLATE.CREATE.X", "STREAM.TEMPLATE.NAMES", "NOTHING", "STREAM", "CONSUMER.CREATE"} {
		for _, a := range w.attackers {
			code, text := w.ask(a, "$JS.API."+api, `{}`, nil)
			if code == "" || code == "unheard" && !strings.Contains(text, "no responders") && !a.dev {
				w.t.Errorf("%s: %s: %q %s", a.name, api, code, text)
			}
			w.record("manage the server", "$JS.API."+api, a, "refused")
		}
	}
	for _, subject := range []string{"$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.VARZ", "$SYS.REQ.ACCOUNT.ENGINE.INFO", "$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.CLAIMS.LIST", "$SYS.REQ.SERVER.PING.JSZ", "$SYS.REQ.SERVER.PING.ACCOUNTZ"} {
		for _, a := range w.attackers {
			code, text := status(a.Request(subject, []byte("{}"), 200*time.Millisecond))
			if code != "unheard" {
				w.t.Errorf("%s: %s: %q %s", a.name, subject, code, text)
			}
			w.record("manage the server", subject, a, "unheard")
		}
	}
}

// reads are all ways to a message that is not the attacker's.
func (w *world) reads() {
	subjects := map[string]string{
		"KV_AGENT_STATE": "$KV.AGENT_STATE.alice.k", "KV_TASK_STATE": "$KV.TASK_STATE.t-alice", "KV_SESSION_DATA": "$KV.SESSION_DATA.alice", "KV_CLAIM_STATE": "$KV.CLAIM_STATE.alice", "KV_AGENT_CONFIG": "$KV.AGENT_CONFIG.alice.k", "KV_REMINDER_STATE": "$KV.REMINDER_STATE.alice",
		"AGENT_STATE": "agents.state.alice.k", "TASK_EXECUTION": "tasks.created.t-alice", "AGENT_MESSAGES": "messages.direct.alice.alice", "EVENTS": "events.agent.alice.state.k",
		"OUTCOMES": "outcomes.x", "COMMANDS": "enqueue.agent.alice.set", "AUDIT": "audit.principal.alice", "KV_QUERY_CACHE": "$KV.QUERY_CACHE.alice", "NONE": "alice",
	}
	for s, subject := range subjects {
		root := subject[:strings.LastIndexByte(subject, '.')+1]
		for _, a := range w.attackers {
			if a.name == "worker" && (s == "TASK_EXECUTION" || s == "KV_TASK_STATE") {
				continue // its role watches all tasks
			}
			kind := "read a stream"
			for _, get := range []string{
				`{"seq":1}`, `{}`, ``, `{"seq":1,"next_by_subj":">"}`, `{"next_by_subj":"` + subject + `"}`, `{"last_by_subj":"` + subject + `"}`, `{"last_by_subj":"` + root + `*"}`, `{"seq":1,"batch":100}`,
				`{"seq":1,"batch":100,"next_by_subj":"` + root + `>"}`, `{"multi_last":["` + subject + `"]}`, `{"multi_last":[">"],"batch":10}`, `{"multi_last":["` + root + `bob","` + subject + `"]}`,
				`{"start_time":"2020-01-01T00:00:00Z","batch":9}`, `{"LAST_BY_SUBJ":"` + subject + `"}`, `{"up_to_seq":9,"multi_last":["` + subject + `"]}`, `{"last_by_subj":"","seq":2}`,
			} {
				w.forbiddenFor(a, kind, "$JS.API.STREAM.MSG.GET."+s, get, nil)
				w.forbiddenFor(a, kind, "$JS.API.DIRECT.GET."+s, get, nil)
			}
			for _, last := range []string{subject, root + "*", root + ">", ">", "*.>"} {
				w.forbiddenFor(a, kind, "$JS.API.DIRECT.GET."+s+"."+last, "", nil)
			}
			for _, filter := range []string{`{"subjects_filter":">"}`, `{"subjects_filter":"` + subject + `"}`, `{"subjects_filter":"` + root + `*"}`} {
				w.forbiddenFor(a, kind, "$JS.API.STREAM.INFO."+s, filter, nil)
			}
			for _, more := range []string{
				``, `,"filter_subject":""`, `,"filter_subject":">"`, `,"filter_subject":"` + subject + `"`, `,"filter_subjects":["` + root + `bob","` + subject + `"]`, `,"filter_subject":"` + root + `*"`,
				`,"durable_name":"d"`, `,"deliver_subject":"_INBOX.x","filter_subject":"` + subject + `"`, `,"ack_policy":"explicit","inactive_threshold":999999999999999`, `,"name":"n","max_waiting":100000`,
				`,"deliver_subject":"agents.state.alice.k"`, `,"deliver_subject":"commands.agent.bob.set"`, `,"deliver_subject":"$JS.API.STREAM.DELETE.EVENTS"`, `,"deliver_subject":"tm.` + w.account + `.inbox.x"`,
			} {
				body := fmt.Sprintf(`{"stream_name":%q,"config":{"deliver_policy":"all"%s}}`, s, more)
				code, text := w.ask(a, "$JS.API.CONSUMER.CREATE."+s, body, nil)
				if code != "403" && code != "400" || strings.Contains(text, "secret") {
					w.t.Errorf("%s: CONSUMER.CREATE.%s %s: %q %s", a.name, s, body, code, text)
				}
				w.record("read through a consumer", "CONSUMER.CREATE."+s+" "+more, a, code)
			}
		}
	}
	for _, a := range w.attackers {
		for _, api := range []string{"STREAM.NAMES", "STREAM.LIST", "STREAM.NAMES ", "INFO"} {
			api, body := strings.TrimSpace(api), map[bool]string{true: `{"subject":"events.>"}`}[strings.HasSuffix(api, " ")]
			_, text := w.ask(a, "$JS.API."+api, body, nil)
			for _, name := range []string{"EVENTS", "COMMANDS", "AUDIT", "OUTCOMES", "TIMERS", "DEAD_LETTERS", "QUARANTINE"} {
				if strings.Contains(text, `"`+name+`"`) || strings.Contains(text, "KV_TIDEMARK") {
					w.t.Errorf("%s: %s shows %s", a.name, api, name)
				}
			}
			w.record("read a stream", "$JS.API."+api+" "+body, a, "nothing of the engine's")
		}
	}
}

// publishes says and asks what only the engine or alice does.
func (w *world) publishes() {
	subjects := slices.Concat(engineSubjects, []string{
		"agents.heartbeat.alice", "agents.state.alice", "agents.state.kv.$KV.AGENT_STATE.alice.k", "tasks.completed.t-alice", "tasks.failed.t-alice.stolen", "messages.broadcast.alice", "messages.notification.x",
		"audit.principal.bob", "lanes.0.agent.alice.set", "lanes.0.agent.alice.set." + w.account, "tm." + w.account + ".outcomes.x", "tm." + w.account + ".inbox.x", "tm." + w.account + ".api.STREAM.NAMES",
		"$KV.TASK_STATE.t-alice", "$KV.SESSION_DATA.alice", "$KV.CLAIM_STATE.alice", "$KV.AGENT_CONFIG.alice.k", "$KV.REMINDER_STATE.alice", "$KV.QUERY_CACHE.x", "$JS.ACK.COMMANDS.lane-0.1.1.1.1.1", "$JS.ACK.TASK_EXECUTION.task-processor.1.1.1.1.0", "$JS.ACK.TASK_EXECUTION." + w.account + "X.1.1.1.1.0", "$JS.ACK.AGENT_MESSAGES.message-batch-processor.1.1.1.1.0",
		"$JS.FC.EVENTS.x.y", "$JS.API.STREAM.PURGE.EVENTS", "$JS.API.CONSUMER.DELETE.COMMANDS.lane-0", "$JS.EVENT.ADVISORY.API", "$SYS.REQ.SERVER.RELOAD", "$SYS.SERVER.X.STATSZ", "$SRV.INFO.tidemark", "_INBOX.x", "events.x",
	})
	for _, subject := range subjects {
		kind := "publish"
		w.unchanged(kind+" "+subject, func(a *abuser) {
			if strings.HasPrefix(subject, "enqueue.") || a.dev && strings.HasPrefix(subject, "commands.") {
				return // they are stored, and refused when they are executed; the right of development mode
			}
			for _, header := range []nats.Header{
				nil, {"Nats-Msg-Id": {"x"}, "Nats-Expected-Stream": {"EVENTS"}}, {"KV-Operation": {"DEL"}}, {"KV-Operation": {"PURGE"}, "Nats-Rollup": {"sub"}}, {"Nats-Rollup": {"all"}}, {"Nats-TTL": {"1s"}},
				{"Nats-Schedule": {"@at 2020-01-01T00:00:00Z"}, "Nats-Schedule-Target": {"events.x"}}, {"Nats-Batch-Id": {"b"}, "Nats-Batch-Sequence": {"1"}, "Nats-Batch-Commit": {"1"}}, {"Nats-Request-Info": {`{"acc":"X"}`}},
			} {
				harness.Must(w.t, a.PublishMsg(&nats.Msg{Subject: subject, Header: header, Data: []byte(`{"type":"agent.state_set","forged":true,"key":"k","value":"stolen"}`)}))
			}
			w.record(kind, subject, a, "no effect")
		})
		w.unchanged("reply to "+subject, func(a *abuser) {
			for _, asked := range []string{"queries.engine.status", "queries.agent.alice.get", "$SRV.PING", "$SRV.INFO.tidemark", "$SRV.STATS.tidemark", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.KV_AGENT_STATE",
				"$JS.API.DIRECT.GET.KV_AGENT_STATE.$KV.AGENT_STATE.alice.k", "$JS.API.STREAM.MSG.GET.KV_AGENT_STATE", "$JS.API.CONSUMER.MSG.NEXT.TASK_EXECUTION.none", "enqueue.agent.bad", "commands.agent.x", "commands.batch", "$SYS.REQ.USER.INFO"} {
				if strings.HasPrefix(asked, "enqueue.") && (a.dev || subject == "enqueue.agent.a1.set") {
					continue
				}
				harness.Must(w.t, a.PublishRequest(asked, subject, []byte(`{}`)))
				w.record("reply into the engine", "14 requests with the reply subject "+subject, a, "no effect")
			}
		})
	}
}

// listens subscribes to what is for others while the victim works.
func (w *world) listens() {
	type ear struct {
		a       *abuser
		subject string
		sub     *nats.Subscription
	}
	var ears []ear
	for _, a := range w.attackers {
		for _, subject := range []string{">", "*.>", "*.*.>", "commands.>", "commands.agent.alice.set", "commands.*.*.*", "queries.>", "queries.agent.alice.get", "enqueue.>", "enqueue.agent.alice.*", "tm.>", "tm." + w.account + "X.>",
			"_INBOX.>", "_R_.>", "$SRV.>", "$SRV.PING", "$SRV.*.tidemark", "$JS.>", "$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$JS.EVENT.>", "$KV.>", "$KV.AGENT_STATE.>", "$SYS.>", "$SYS.ACCOUNT.>", "events.>", "outcomes.>", "outcomes.*",
			"lanes.>", "audit.>", "timers.>", "deadletters.>", "engines.>", "agents.>", "agents.state.alice.>", "agents.heartbeat.alice", "tasks.>", "messages.>", "messages.direct.alice.*", "tmapi.>", "tmjs.>"} {
			for _, group := range []string{"", "tidemark", "q", "gate", "intake"} {
				sub, err := a.QueueSubscribeSync(subject, group)
				if group == "" {
					sub, err = a.SubscribeSync(subject)
				}
				harness.Must(w.t, err)
				ears = append(ears, ear{a, subject, sub})
			}
		}
		harness.Must(w.t, a.Flush())
	}
	w.victim.MustSet(w.t, "alice", "k", "secret-of-alice", M{"strategy": "last_write_wins"})
	w.victim.MustGet(w.t, "alice", "k", nil)
	m, err := w.victim.Request("enqueue.agent.alice.set", []byte(`{"key":"k2","value":"secret-of-alice"}`), harness.Patience)
	if code, text := status(m, err); code != "" {
		w.t.Errorf("the victim's enqueue: %s %s", code, text)
	}
	_, err = w.victim.Request("$SRV.PING.tidemark", nil, harness.Patience)
	harness.Mustf(w.t, err, "the victim asks who serves")
	w.admin.CaughtUp(w.t)
	for _, a := range w.attackers {
		harness.Must(w.t, a.Flush()) // behind what the server has sent to it
	}
	for _, one := range ears {
		feeds := one.a.dev || one.a.name == "worker" // hears what the engine publishes
		for waiting, _, err := one.sub.Pending(); waiting > 0 && err == nil; waiting, _, err = one.sub.Pending() {
			m, err := one.sub.NextMsg(answerTime)
			if err != nil {
				break // the subscription was refused
			}
			root, _, _ := strings.Cut(m.Subject, ".")
			if feeds && slices.Contains([]string{"agents", "tasks", "messages", "outcomes", "_INBOX"}, root) {
				continue
			}
			if strings.Contains(string(m.Data), "secret") || strings.Contains(string(m.Data), "alice") {
				w.t.Errorf("%s hears on %s: %s %.200s", one.a.name, one.subject, m.Subject, m.Data)
			}
		}
		w.record("listen", one.subject, one.a, "nothing")
		_ = one.sub.Unsubscribe() // it may be refused
	}
}
