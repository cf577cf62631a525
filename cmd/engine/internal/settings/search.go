package settings

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Search is the flag --search: alone or "on" = every key, else prefixes of keys joined by
// commas; "off" = no search.
type Search struct{ of *readmodel.Search }

// Of says which entries may be searched; nil = none.
func (s *Search) Of() *readmodel.Search { return s.of }

// IsBool lets the flag stand alone.
func (s *Search) IsBool() bool { return true }

// Decode implements kong.MapperValue.
func (s *Search) Decode(ctx *kong.DecodeContext) error {
	text := "on"
	switch next := ctx.Scan.Peek(); {
	case next.Type == kong.FlagValueToken, next.Type == kong.UntypedToken && !strings.HasPrefix(fmt.Sprint(next.Value), "-"):
		text = fmt.Sprint(ctx.Scan.Pop().Value)
	}
	return s.UnmarshalText([]byte(text))
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Search) UnmarshalText(text []byte) error {
	s.of = nil
	switch string(text) {
	case "on", "all", "*", "true":
		s.of = &readmodel.Search{}
		return nil
	case "off", "false", "":
		return nil
	}
	found := &readmodel.Search{}
	for prefix := range strings.SplitSeq(string(text), ",") {
		prefix = strings.TrimSpace(prefix)
		if domain.CheckKey(strings.TrimSuffix(prefix, ".")) != nil {
			return fmt.Errorf("%.64q is neither on, off nor a prefix of keys", prefix)
		}
		found.Prefixes = append(found.Prefixes, prefix)
	}
	s.of = found
	return nil
}
