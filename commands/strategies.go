package commands

import (
	"strings"

	"github.com/tidemark-engine/tidemark/domain/agent"
)

// Strategies says which conflict strategy an entry has where the command says
// none: by prefix of "<agent>.<key>", the longest winning, else timestamp.
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
