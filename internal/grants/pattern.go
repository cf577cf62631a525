package grants

import (
	"strings"

	"github.com/tidemark-engine/tidemark/internal/wildcard"
)

// covers reports whether all that the pattern inner matches is matched by outer. It may
// say no where the answer is yes for a pattern with several "*".
func covers(outer, inner string) bool {
	// "*" of inner stands for any text: a character that no name has matches only "*".
	return wildcard.Match(outer, strings.ReplaceAll(inner, "*", "\x00"))
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
