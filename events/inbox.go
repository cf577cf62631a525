package events

// MessageRead says which messages of its inbox an agent has read.
const MessageRead = "message.read"

// Inbox is the name of what an agent has read of its inbox.
func Inbox(agent string) AggregateName { return AggregateName("message." + agent) }

// InboxRead is the data of MessageRead. A mark is where a message stands in every inbox.
type InboxRead struct {
	UpTo    int64   `json:"up_to,omitzero"` // all messages up to this mark; 0 = none
	Marks   []int64 `json:"marks,omitzero"` // single messages
	Request string  `json:"request"`
}
