package domain

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxID and MaxKey are the longest id and key, in bytes (contract, section 1).
const (
	MaxID  = 128
	MaxKey = 255
)

// ReservedAgent is the agent id whose subjects would collide with those on which
// the hot bucket is republished (agents.state.kv.>).
const ReservedAgent = "kv"

func idByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// CheckID accepts 1–128 bytes of [A-Za-z0-9_-]; else 400 id.invalid. The noun
// names the id in the message ("agent id").
func CheckID(noun, id string) error {
	if id == "" {
		return Errorf(Invalid, "id.invalid", "%s is empty, it must have 1 to %d characters", noun, MaxID)
	}
	for i := range len(id) {
		if idByte(id[i]) {
			continue
		}
		if id[i] == '.' {
			return Errorf(Invalid, "id.invalid",
				"%s %.64q has a dot, which separates the tokens of a subject; it may hold letters, digits, '_' and '-'", noun, id)
		}
		return Errorf(Invalid, "id.invalid", "%s %.64q has %s; it may hold letters, digits, '_' and '-'", noun, id, character(id, i))
	}
	if len(id) > MaxID {
		return Errorf(Invalid, "id.invalid", "%s %.64q must have 1 to %d characters, this has %d", noun, id, MaxID, len(id))
	}
	return nil
}

// DottedID is the refusal of an id with dots, which are several tokens of a subject:
// 400 id.invalid.
func DottedID(noun string, tokens []string) *Error {
	return Errorf(Invalid, "id.invalid",
		"%s %.128q has a dot, which makes it %d tokens of the subject; an id is one token of letters, digits, '_' and '-'",
		noun, strings.Join(tokens, "."), len(tokens))
}

// CheckAgentID is CheckID plus the reserved name.
func CheckAgentID(id string) error {
	if id == ReservedAgent {
		return Errorf(Invalid, "id.invalid", "the agent id %q is reserved", id)
	}
	return CheckID("agent id", id)
}

// CheckKey accepts 1–255 bytes: tokens of [A-Za-z0-9_=/-] joined by single
// dots; else 400 key.invalid.
func CheckKey(key string) error {
	if key == "" {
		return Errorf(Invalid, "key.invalid", "key is empty, it must have 1 to %d bytes", MaxKey)
	}
	for i := range len(key) {
		if c := key[i]; c != '.' && !idByte(c) && c != '=' && c != '/' {
			return Errorf(Invalid, "key.invalid",
				"key %.64q has %s; it may hold letters, digits, '_', '-', '=', '/' and single dots", key, character(key, i))
		}
	}
	switch {
	case len(key) > MaxKey:
		return Errorf(Invalid, "key.invalid", "key %.64q must have 1 to %d bytes, this has %d", key, MaxKey, len(key))
	case key[0] == '.':
		return Errorf(Invalid, "key.invalid", "key %.64q begins with a dot", key)
	case key[len(key)-1] == '.':
		return Errorf(Invalid, "key.invalid", "key ends with a dot: %.255q", key)
	case strings.Contains(key, ".."):
		return Errorf(Invalid, "key.invalid", "key %.64q has two dots in a row", key)
	}
	return nil
}

// character quotes the character of s that begins at i.
func character(s string, i int) string {
	r, size := utf8.DecodeRuneInString(s[i:])
	if r == utf8.RuneError && size == 1 {
		return "a byte that is not UTF-8"
	}
	return strconv.QuoteRune(r)
}
