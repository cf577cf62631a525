package client

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// remembered is how many aggregates have a token of their own. A read of any other
// aggregate takes the joined token, which waits for more than it needs.
const remembered = 4096

// tokens are the read positions that this client has seen.
type tokens struct {
	mu     sync.Mutex
	joined string            // of all answers
	of     map[string]string // by aggregate, "agent.a1"
}

func newTokens() *tokens { return &tokens{of: map[string]string{}} }

// saw notes the token of an answer about an aggregate ("" = about several).
func (t *tokens) saw(aggregate, token string) {
	if token == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.joined = join(t.joined, token)
	if aggregate == "" {
		return
	}
	if len(t.of) >= remembered {
		clear(t.of)
	}
	t.of[aggregate] = join(t.of[aggregate], token)
}

// reached is the token that a read of the aggregate must have reached ("" = of several).
func (t *tokens) reached(aggregate string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if token, ok := t.of[aggregate]; ok {
		return token
	}
	return t.joined
}

// forget drops all tokens: the journal is another one.
func (t *tokens) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.joined = ""
	clear(t.of)
}

// join is the token that has reached both: the higher revision of each partition. Tokens
// of two journals cannot be joined; the later one counts.
func join(old, token string) string {
	if old == "" || old == token {
		return token
	}
	journal, parts, _ := strings.Cut(token, ".")
	before, kept, _ := strings.Cut(old, ".")
	if journal != before {
		return token
	}
	highest := positions(kept)
	for p, revision := range positions(parts) {
		highest[p] = max(highest[p], revision)
	}
	return journal + text(highest)
}

// positions are the revisions by partition of a token's text after the journal.
func positions(parts string) map[int]uint64 {
	at := map[int]uint64{}
	for part := range strings.SplitSeq(parts, ".") {
		p, revision, _ := strings.Cut(part, "-")
		partition, err := strconv.Atoi(p)
		if err != nil {
			continue
		}
		at[partition], _ = strconv.ParseUint(revision, 10, 64)
	}
	return at
}

func text(at map[int]uint64) string {
	var b strings.Builder
	for _, p := range slices.Sorted(maps.Keys(at)) {
		fmt.Fprintf(&b, ".%d-%d", p, at[p])
	}
	return b.String()
}
