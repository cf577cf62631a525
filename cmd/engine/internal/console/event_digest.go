package console

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"

	"github.com/go-json-experiment/json/jsontext"
)

// digestCheck is what the digest of an event says.
type digestCheck struct {
	word string // match, differs, not checked
	why  string
}

// previous is the event before another one in its aggregate; nil = there is none.
func (r *request) previous(e *event) (*event, error) {
	if e.Version <= 1 && e.Aggregate != "agent" {
		return nil, nil
	}
	if e.Aggregate == "agent" { // also its lifecycle and lost writes, which have no history of their own
		return r.previousOfAgent(e)
	}
	body := map[string]any{"limit": 1, "cursor": text(e.Revision)}
	if e.Key != "" {
		body["key"] = e.Key
	}
	var answer struct {
		Versions []event `json:"versions"`
	}
	if err := r.ask(e.Aggregate+"."+e.ID+".history", body, &answer); err != nil || len(answer.Versions) == 0 {
		return nil, err
	}
	return &answer.Versions[0], nil
}

var errFarBack = errors.New("the event before it is far back")

// maxBack bounds the events of an agent that are read to find one of an aggregate.
const maxBack = 2000

func (r *request) previousOfAgent(e *event) (*event, error) {
	if e.Key != "" && !e.lost() {
		var answer struct {
			Versions []event `json:"versions"`
		}
		err := r.ask("agent."+e.ID+".history", map[string]any{"key": e.Key, "limit": 1, "cursor": text(e.Revision)}, &answer)
		if err != nil || len(answer.Versions) == 0 {
			return nil, err
		}
		return &answer.Versions[0], nil
	}
	if e.Version <= 1 {
		return nil, nil
	}
	body := map[string]any{"to": e.Revision - 1, "limit": 500}
	for seen := 0; seen < maxBack; {
		var page timelinePage
		if err := r.ask("agent."+e.ID+".timeline", body, &page); err != nil {
			return nil, err
		}
		for i := range page.Events {
			if one := &page.Events[i]; one.Partition == e.Partition && one.Unreadable == "" && one.name() == e.name() {
				return one, nil
			}
		}
		if page.Cursor == "" {
			return nil, nil
		}
		seen += max(len(page.Events), 100)
		body["cursor"] = page.Cursor
	}
	return nil, errFarBack
}

// check computes the digest of an event: SHA-256 over the digest before it and the RFC 8785
// form of the event without its digest.
func check(d *eventData, previous *event, err error) digestCheck {
	switch {
	case err != nil:
		return digestCheck{"not checked", "the event before it cannot be read: " + err.Error()}
	case previous == nil && d.event.Version > 1:
		return digestCheck{"not checked", "the event before it is not there any more"}
	}
	before := ""
	if previous != nil {
		before = previous.Digest
	}
	form, err := digested(d.raw)
	if err != nil {
		return digestCheck{"not checked", err.Error()}
	}
	sum := sha256.Sum256(append([]byte(before), form...))
	if hex.EncodeToString(sum[:]) == d.event.Digest {
		return digestCheck{"match", "computed from this event and the digest of the one before it"}
	}
	return digestCheck{"differs", "encrypted content is shown decrypted and cannot be checked here; engine verify compares what is stored"}
}

// digested is the RFC 8785 form of an event as it is stored, without its digest. Revision is
// a member of the answer alone.
func digested(raw json.RawMessage) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return nil, err
	}
	delete(members, "digest")
	delete(members, "revision")
	form, err := json.Marshal(members)
	if err != nil {
		return nil, err
	}
	v := jsontext.Value(form)
	if err := v.Canonicalize(); err != nil {
		return nil, err
	}
	return v, nil
}
