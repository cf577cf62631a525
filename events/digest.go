package events

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Chain is the digest of e after the event whose digest is previous (empty for
// an aggregate's first event): lower-case hex of SHA-256 over previous, as its
// hex text, followed by the RFC 8785 canonical form of e without its digest.
// Numbers enter the canonical form as IEEE 754 doubles, as the RFC says.
func Chain(previous string, e *Event) (string, error) {
	e = e.Stored() // the digest is of the stored form
	b, err := e.appendCanonical(append(make([]byte, 0, 512+len(e.Data)+len(e.State)), previous...))
	if err != nil {
		return "", fmt.Errorf("canonical form of %s %s: %w", e.Type, e.ID, err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}
