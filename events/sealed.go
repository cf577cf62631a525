package events

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The data of an event may be stored encrypted with a key of its agent. The stored
// form, which the digest covers, then has sealed data:
//
//	{"sealed":"<base64>","sealed_key":"<id of the key>"}
//
// and of a task, a session, a reminder or a claim also "sealed_for":"<agent>", and the outline as its state.
// The other members stay readable, so that chains can be verified after the key was
// destroyed. This package knows the form; it has no key (internal/keys).

const (
	sealedHead = `{"sealed":"`
	sealedKey  = `","sealed_key":"`
	sealedFor  = `","sealed_for":"`
)

// ErrDamaged means that the encrypted content of an event was changed.
var ErrDamaged = errors.New("the encrypted content was changed")

// Sealable reports whether the event holds content of an agent, which is encrypted
// where encryption is on: values of entries and of configuration, losing writes, messages,
// the reasons that clients give for a change of the lifecycle, and what the tasks,
// sessions, reminders and claims of an agent hold.
func (e *Event) Sealable() bool {
	switch e.Type {
	case StateSet, StateSuperseded, StateRejected, ConfigSet, MessageSent:
		return true
	case HydrationStarted, FlushStarted, Expired, Retired, Forked, RevertStarted, Reverted:
		return bytes.Contains(e.Data, []byte(`"reason":`))
	case TaskErased, SessionErased, ReminderErased, ClaimErased:
		return false
	}
	return e.Owner != ""
}

// KeyAgent is the agent whose key encrypts the event.
func (e *Event) KeyAgent() string {
	if e.Owner != "" {
		return e.Owner
	}
	if _, _, owner, _ := e.sealed(); len(owner) > 0 {
		return string(owner)
	}
	return e.ID
}

// content is what the box of an owned event holds.
type content struct {
	Data  jsontext.Value `json:"data"`
	State jsontext.Value `json:"state,omitempty"`
}

// Content is what is encrypted: Data, and of a task, a session, a reminder or a claim also State.
func (e *Event) Content() []byte {
	if e.Owner == "" {
		return e.Data
	}
	b := append(append(make([]byte, 0, len(e.Data)+len(e.State)+24), `{"data":`...), e.Data...)
	if len(e.State) > 0 {
		b = append(append(b, `,"state":`...), e.State...)
	}
	return append(b, '}')
}

// SealContext is what a sealed content is bound to: it cannot be moved to another
// event.
func (e *Event) SealContext() []byte {
	e = e.Stored()
	b := make([]byte, 0, 64+len(e.ID)+len(e.Key))
	for _, s := range [...]string{e.Type, e.Aggregate, e.ID, e.Key} {
		b = append(append(b, s...), 0)
	}
	return strconv.AppendUint(b, e.Version, 10)
}

// Seal makes the stored form of the event hold box, which is its encrypted Content, and
// the id of the key. Data and State stay.
func (e *Event) Seal(key string, box []byte) {
	sealed := *e
	b := append(make([]byte, 0, len(sealedHead)+len(sealedKey)+len(key)+len(sealedFor)+len(e.Owner)+2+base64.RawStdEncoding.EncodedLen(len(box))), sealedHead...)
	b = base64.RawStdEncoding.AppendEncode(b, box)
	b = append(append(b, sealedKey...), key...)
	if e.Owner != "" {
		b = append(append(b, sealedFor...), e.Owner...)
		sealed.State = e.Outline
	}
	sealed.Data = append(b, `"}`...)
	e.stored = &sealed
}

// SetDigest sets the digest of the event and of its stored form.
func (e *Event) SetDigest(digest string) {
	e.Digest = digest
	e.Stored().Digest = digest
}

// Sealed returns the encrypted content of the stored form and the id of its key; ok
// is false when it is not encrypted.
func (e *Event) Sealed() (key string, box []byte, ok bool) {
	text, id, _, ok := e.sealed()
	if !ok {
		return "", nil, false
	}
	box, err := base64.RawStdEncoding.AppendDecode(nil, text)
	return string(id), box, err == nil
}

// sealed are the members of the sealed data; owner is empty where the event encrypts
// with the key of its own agent.
func (e *Event) sealed() (box, key, owner []byte, ok bool) {
	data, found := bytes.CutPrefix(e.Stored().Data, []byte(sealedHead))
	if !found {
		return nil, nil, nil, false
	}
	box, rest, found := bytes.Cut(data, []byte(sealedKey))
	rest, end := bytes.CutSuffix(rest, []byte(`"}`))
	key, owner, owned := bytes.Cut(rest, []byte(sealedFor))
	if !found || !end || len(key) == 0 || !plain(key) || !plain(owner) || owned && len(owner) == 0 {
		return nil, nil, nil, false
	}
	return box, key, owner, true
}

// Unseal sets the decrypted content of a sealed event. Its stored form stays.
func (e *Event) Unseal(box []byte) error {
	e.keepStored()
	if _, _, owner, _ := e.sealed(); len(owner) == 0 {
		e.Data = box
		return nil
	}
	var c content
	if err := json.Unmarshal(box, &c); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	e.Data, e.State = c.Data, c.State
	return nil
}

// Erase makes a sealed event whose key was destroyed what readers see of it: a write
// is the deletion of its entry, and of a task, a session, a reminder or a claim the outline is left. Its
// stored form stays.
func (e *Event) Erase() {
	e.keepStored()
	e.Data, e.Erased = jsontext.Value("{}"), true
	switch e.Type {
	case StateSet:
		e.Type = StateDeleted
	case ConfigSet:
		e.Type = ConfigUnset
	}
}

func (e *Event) keepStored() {
	if e.stored == nil {
		stored := *e
		e.stored = &stored
	}
}

// Published is the event as readers see it: of a sealed event with its content, or
// with {"erased":true} as its data; of any other event the stored form.
func (e *Event) Published() []byte {
	if _, _, sealed := e.Sealed(); !sealed {
		return e.Encode()
	}
	open := *e
	open.stored = nil
	if e.Erased {
		open.Type, open.Data = e.stored.Type, jsontext.Value(`{"erased":true}`)
	}
	return open.Encode()
}
