package events

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// The data of an event may be stored encrypted with a key of its agent. The stored
// form, which the digest covers, then has sealed data:
//
//	{"sealed":"<base64>","sealed_key":"<id of the key>"}
//
// The other members stay readable, so that chains can be verified after the key was
// destroyed. This package knows the form; it has no key (internal/keys).

const (
	sealedHead = `{"sealed":"`
	sealedKey  = `","sealed_key":"`
)

// ErrDamaged means that the encrypted content of an event was changed.
var ErrDamaged = errors.New("the encrypted content was changed")

// Sealable reports whether the event holds content of an agent, which is encrypted
// where encryption is on: values of entries and of configuration, losing writes,
// and the reasons that clients give for a change of the lifecycle.
func (e *Event) Sealable() bool {
	switch e.Type {
	case StateSet, StateSuperseded, StateRejected, ConfigSet:
		return true
	case HydrationStarted, FlushStarted, Expired, Retired, Forked:
		return bytes.Contains(e.Data, []byte(`"reason":`))
	}
	return false
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

// Seal makes the stored form of the event hold box, which is its encrypted Data, and
// the id of the key. Data stays.
func (e *Event) Seal(key string, box []byte) {
	sealed := *e
	b := append(make([]byte, 0, len(sealedHead)+len(sealedKey)+len(key)+2+base64.RawStdEncoding.EncodedLen(len(box))), sealedHead...)
	b = base64.RawStdEncoding.AppendEncode(b, box)
	b = append(append(append(b, sealedKey...), key...), `"}`...)
	sealed.Data = b
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
	data, found := bytes.CutPrefix(e.Stored().Data, []byte(sealedHead))
	if !found {
		return "", nil, false
	}
	text, rest, found := bytes.Cut(data, []byte(sealedKey))
	id, end := bytes.CutSuffix(rest, []byte(`"}`))
	if !found || !end || len(id) == 0 || !plain(id) {
		return "", nil, false
	}
	box, err := base64.RawStdEncoding.AppendDecode(nil, text)
	return string(id), box, err == nil
}

// Unseal sets the decrypted content of a sealed event. Its stored form stays.
func (e *Event) Unseal(data jsontext.Value) {
	e.keepStored()
	e.Data = data
}

// Erase makes a sealed event whose key was destroyed what readers see of it: a write
// is the deletion of its entry. Its stored form stays.
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
