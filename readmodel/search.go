package readmodel

import (
	"strings"
	"time"
)

// Search says which entries queries.state.find may search. The durable view keeps indexes
// of their values.
type Search struct {
	Prefixes []string // of keys; empty = every key
}

// Covers reports whether all keys with a prefix may be searched.
func (s *Search) Covers(prefix string) bool {
	if len(s.Prefixes) == 0 {
		return true
	}
	for _, p := range s.Prefixes {
		if strings.HasPrefix(prefix, p) {
			return true
		}
	}
	return false
}

// EntryFind is a query for a page of entries by content, in the order of agent and key. An
// entry must have everything that is not empty.
type EntryFind struct {
	In          *Search
	AgentPrefix string
	Agents      []string // patterns, in which * is any characters; nil = every agent
	Key         string
	KeyPrefix   string
	Contains    []byte // JSON that the value contains, as jsonb @> says
	Path        string // SQL/JSON path
	Text        string // words, as in a web search
	AfterAgent  string // the last entry seen
	AfterKey    string
	Limit       int
}

// WrittenEntry says when an entry was last written.
type WrittenEntry struct {
	Agent, Key string
	Version    uint64
	WrittenAt  time.Time
}
