package events

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// Chain is the digest of e after the event whose digest is previous (empty for
// an aggregate's first event): lower-case hex of SHA-256 over previous, as its
// hex text, followed by the RFC 8785 canonical form of e without its digest.
// Numbers enter the canonical form as IEEE 754 doubles, as the RFC says.
func Chain(previous string, e *Event) (string, error) {
	e = e.Stored() // an event that was read through an upcast keeps its digest
	body := jsontext.Value(append(e.appendFields(make([]byte, 0, 384+len(e.Data)+len(e.State))), '}'))
	if err := body.Canonicalize(); err != nil {
		return "", fmt.Errorf("canonical form of %s %s: %w", e.Type, e.ID, err)
	}
	h := sha256.New()
	h.Write([]byte(previous))
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil)), nil
}
