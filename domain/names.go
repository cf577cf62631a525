package domain

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
	if len(id) == 0 || len(id) > MaxID {
		return Errorf(Invalid, "id.invalid", "%s must have 1 to %d characters, this has %d", noun, MaxID, len(id))
	}
	for i := range len(id) {
		if !idByte(id[i]) {
			return Errorf(Invalid, "id.invalid", "%s may hold letters, digits, '_' and '-'; byte %d is %q", noun, i, id[i])
		}
	}
	return nil
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
	if len(key) == 0 || len(key) > MaxKey {
		return Errorf(Invalid, "key.invalid", "key must have 1 to %d bytes, this has %d", MaxKey, len(key))
	}
	last := byte('.')
	for i := range len(key) {
		c := key[i]
		switch {
		case c == '.':
			if last == '.' {
				return Errorf(Invalid, "key.invalid", "key has an empty token at byte %d", i)
			}
		case !idByte(c) && c != '=' && c != '/':
			return Errorf(Invalid, "key.invalid", "key may hold letters, digits, '_', '-', '=', '/' and single dots; byte %d is %q", i, c)
		}
		last = c
	}
	if last == '.' {
		return Errorf(Invalid, "key.invalid", "key ends with a dot")
	}
	return nil
}
