package commands

import (
	"strings"

	"github.com/tidemark-engine/tidemark/domain/agent"
)

// Strategies are the conflict strategies of writes that name none: by prefix of
// "<agent>.<key>", the longest one first; else timestamp.
type Strategies map[string]agent.Strategy

// For is the strategy of one entry.
func (s Strategies) For(agentID, key string) agent.Strategy {
	name, best, found := agentID+"."+key, -1, agent.Timestamp
	for prefix, strategy := range s {
		if len(prefix) > best && strings.HasPrefix(name, prefix) {
			best, found = len(prefix), strategy
		}
	}
	return found
}
