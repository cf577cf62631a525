package intake

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// enqueueEndpoint stores the commands that clients enqueue from their accounts, and answers
// with the acknowledgement of the stream. It keeps no state: the reply subject of
// a stored command names the client's.
type enqueueEndpoint struct {
	in   *Intake
	nc   *nats.Conn
	root string // of the acknowledgements' subjects
	subs []*nats.Subscription

	backlog backlog
	turns   turns
}

func openEnqueueEndpoint(in *Intake) (d *enqueueEndpoint, err error) {
	d = &enqueueEndpoint{in: in, backlog: backlog{look: in.room}}
	d.turns = turns{send: d.store, queues: map[string]*turnQueue{}}
	if d.nc, err = in.cfg.Connect("enqueue"); err != nil {
		return nil, err
	}
	d.root = d.nc.NewInbox() + "."
	for _, sub := range []struct {
		subject, queue string
		handle         nats.MsgHandler
	}{{d.root + "*", "", d.acknowledged}, {in.streams.accountRoot + "*.intake.>", "intake", d.enqueue}} {
		s, err := d.nc.QueueSubscribe(sub.subject, sub.queue, sub.handle)
		if err != nil {
			d.close()
			return nil, fmt.Errorf("take enqueued commands: %w", err)
		}
		if err := s.SetPendingLimits(1<<20, endpointBytes); err != nil {
			d.close()
			return nil, err
		}
		d.subs = append(d.subs, s)
	}
	return d, d.nc.FlushTimeout(publishTime)
}

// endpointBytes bounds commands that have arrived and are not yet passed on.
const endpointBytes = 256 << 20

// close takes no more commands. Those that are stored get their acknowledgements.
func (d *enqueueEndpoint) close() {
	if d == nil {
		return
	}
	for i := len(d.subs) - 1; i > 0; i-- {
		_ = d.subs[i].Unsubscribe() // the connection may be closed
	}
	d.turns.close()
	_ = d.nc.FlushTimeout(publishTime) // the connection may be closed
	d.nc.Close()
}

// enqueue stores a command under its sender's account. Of the headers it keeps
// the command id and the trace context: others would be orders to the stream.
func (d *enqueueEndpoint) enqueue(m *nats.Msg) {
	if m.Reply != "" && !strings.HasPrefix(m.Reply, natsio.ServiceReply) {
		d.in.log.Warn("enqueued command dropped: it did not come through the account of a client", "subject", m.Subject, "reply", m.Reply)
		return
	}
	account, rest, _ := strings.Cut(strings.TrimPrefix(m.Subject, d.in.streams.accountRoot), ".intake.")
	if _, err := natsio.CommandID(m); m.Header == nil && err != nil {
		d.refuse(m, err)
		return
	}
	who, err := natsio.CheckRequester(m.Header, account)
	caller := d.in.cfg.Identify(account)
	if err != nil || caller == nil {
		d.in.log.Warn("enqueued command refused: it is not known who sends it", "subject", m.Subject, "error", err)
		d.refuse(m, domain.Errorf(domain.Forbidden, "forbidden", "forbidden: it is not known who sends this command"))
		return
	}
	client := caller.Client(who.Client)
	if err := d.in.cfg.Rates.Take(client); err != nil {
		d.refuse(m, err)
		return
	}
	if err := d.room(); err != nil {
		d.refuse(m, err)
		return
	}
	stored := &nats.Msg{Subject: d.in.streams.enqueueRoot + rest, Data: m.Data, Header: nats.Header{}}
	if account == d.in.streams.dev {
		account = ""
	}
	aggregate, id, verb, refusal := commands.ParseSubject(rest)
	if refusal != nil && account != "" {
		d.refuse(m, refusal)
		return
	}
	for name, values := range m.Header {
		switch strings.ToLower(strings.TrimSpace(name)) {
		case strings.ToLower(nats.MsgIdHdr), metaTraceParent, metaTraceState:
			stored.Header[name] = values
		}
	}
	many, err := d.backlog.enter(client, stored.Size(), time.Now())
	if err != nil {
		d.refuse(m, err)
		return
	}
	if refusal == nil && (many || account != "") {
		stored.Subject = laneSubject(d.in.streams.laneRoot, d.in.streams.lanes, many, aggregate, id, verb, account)
	}
	stored.Reply = d.root + noReply
	if m.Reply != "" {
		stored.Reply = d.root + base64.RawURLEncoding.EncodeToString([]byte(m.Reply))
	}
	if err := d.turns.add(strings.Clone(client), stored); err != nil {
		d.refuse(m, err)
	}
}

// noReply stands for a client that wants no acknowledgement.
const noReply = "none"

// room returns why nothing may be stored now: a stream that cannot write does not answer.
func (d *enqueueEndpoint) room() error {
	if d.in.cfg.Room == nil {
		return nil
	}
	return d.in.cfg.Room()
}

// store sends a command to the stream, and reports whether it is on its way.
func (d *enqueueEndpoint) store(stored *nats.Msg) bool {
	err := d.room()
	if err == nil {
		err = d.nc.PublishMsg(stored)
	}
	if err != nil {
		d.answer(d.reply(stored.Reply), domain.Unavailable.Status(), "the command was not stored: retry later")
	}
	return err == nil
}

// reply is where the client waits for the acknowledgement; empty = it does not.
func (d *enqueueEndpoint) reply(acknowledged string) string {
	reply, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(acknowledged, d.root))
	if err != nil || !strings.HasPrefix(string(reply), natsio.ServiceReply) {
		return ""
	}
	return string(reply)
}

// acknowledged passes the stream's answer on.
func (d *enqueueEndpoint) acknowledged(m *nats.Msg) {
	d.turns.answered()
	reply := d.reply(m.Subject)
	if reply == "" {
		return
	}
	if len(m.Data) == 0 { // the stream does not answer
		d.answer(reply, 503, "the command was not stored: the stream COMMANDS does not answer; retry later")
		return
	}
	if err := d.nc.Publish(reply, m.Data); err != nil {
		d.in.log.Warn("the acknowledgement of an enqueued command was not sent", "error", err)
	}
}

// refuse answers with the status that the command would have as a request.
func (d *enqueueEndpoint) refuse(m *nats.Msg, err error) {
	code := domain.Internal.Status()
	if known := (*domain.Error)(nil); errors.As(err, &known) {
		code = known.Kind.Status()
	}
	d.answer(m.Reply, code, domain.PublicText(err))
}

// answer answers as a stream answers that does not store a message.
func (d *enqueueEndpoint) answer(reply string, code int, text string) {
	if reply == "" {
		return
	}
	body, err := json.Marshal(map[string]any{"stream": CommandsStream, "seq": 0, "error": jetstream.APIError{Code: code, ErrorCode: streamStoreFailed, Description: text}})
	if err == nil {
		err = d.nc.Publish(reply, body)
	}
	if err != nil {
		d.in.log.Warn("the refusal of an enqueued command was not sent", "error", err)
	}
}

// streamStoreFailed is the JetStream error code of a message that a stream does not store
// (JSStreamStoreFailedF in nats-server).
const streamStoreFailed = 10077
