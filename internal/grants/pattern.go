package grants

import "strings"

// Matches reports whether a pattern matches all of text; "*" matches any characters,
// also none.
func Matches(pattern, text string) bool {
	first, rest, more := strings.Cut(pattern, "*")
	if !more {
		return pattern == text
	}
	if !strings.HasPrefix(text, first) {
		return false
	}
	text = text[len(first):]
	for {
		part, next, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(text, part)
		}
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text, rest = text[i+len(part):], next
	}
}

// covers reports whether all that the pattern inner matches is matched by outer. It may
// say no where the answer is yes for a pattern with several "*".
func covers(outer, inner string) bool {
	// "*" of inner stands for any text: a character that no name has matches only "*".
	return Matches(outer, strings.ReplaceAll(inner, "*", "\x00"))
}

const (
	idCharacters  = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
	keyCharacters = idCharacters + "=/."
	maxID         = 128
	maxKey        = 255
)

func only(text, characters string) bool {
	return strings.Trim(text, characters) == "" && !strings.ContainsFunc(text, func(r rune) bool { return !strings.ContainsRune(characters, r) })
}
