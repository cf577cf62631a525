package feeds

import (
	"context"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// MessagesView names the view that publishes messages on AGENT_MESSAGES.
const MessagesView = "message-feed"

// Messages is the target of MessagesView: it publishes the messages between agents.
// It is a view of its own, because AGENT_MESSAGES is in the memory of one server: while that
// one is down, the other feeds go on.
type Messages struct{ *Feeds }

var (
	_ projections.Target = Messages{}
	_ projections.Folder = Messages{}
)

// NewMessages returns the feed of a journal's messages.
func NewMessages(s *Streams, j history.JournalStore) Messages {
	return Messages{&Feeds{streams: s, journal: j, names: []string{AgentMessages}, feeds: map[string]*feed{}}}
}

// Fold implements projections.Folder.
func (Messages) Fold(batch []history.Message) projections.Changes {
	return projections.FoldMessages(batch)
}

// Apply implements projections.Target.
func (t Messages) Apply(ctx context.Context, partition int, from, to uint64, c projections.Changes) error {
	var msgs []*nats.Msg
	var revisions []uint64
	for _, rec := range c.Events {
		m, sent, err := readmodel.MessageOf(rec)
		if err != nil {
			return projections.Unappliable(err)
		}
		if !sent {
			continue
		}
		subject := "messages." + m.Kind + "."
		switch m.Kind {
		case readmodel.MessageDirect:
			subject += m.From + "." + m.To
		case readmodel.MessageBroadcast:
			subject += m.From
		default:
			subject += m.Type
		}
		msgs = append(msgs, t.message(t.streams.Subjects.Root(subject), rec, m.Encode()))
		revisions = append(revisions, rec.Revision)
	}
	return t.publish(ctx, AgentMessages, partition, from, to, msgs, revisions)
}
