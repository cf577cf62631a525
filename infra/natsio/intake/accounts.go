package intake

import (
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/tidemark-engine/tidemark/internal/identity"
)

// Where clients have accounts, the enqueue endpoint stores their commands: those of clients
// without credentials as enqueue.<aggregate>.<id>.<verb>, those of a principal as
// lanes.<lane>.<aggregate>.<id>.<verb>.<account>. Who sent a command is read from
// its stored subject alone, where no client can write.

func (s *streams) commandSubjects() []string {
	if s.accountRoot == "" {
		return []string{s.enqueueRoot + ">"}
	}
	return []string{s.enqueueRoot + ">", s.laneRoot + ">"}
}

func (s *streams) outcomeSubjects() []string {
	if s.accountRoot == "" {
		return []string{s.outcomeRoot + ">"}
	}
	return []string{s.outcomeRoot + ">", s.accountRoot + "*.outcomes.>"}
}

// slowLanes is the number of lanes, behind the others, for the commands of clients that have
// many waiting: those of other clients do not wait behind them.
const slowLanes = 4

// laneSubject is where a command of a principal is stored: in the lane that the
// server computes for the same aggregate, or in a slow one. account is empty for clients
// without credentials.
func laneSubject(laneRoot string, lanes int, slow bool, aggregate, id, verb, account string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(aggregate + id)) // it never fails
	lane := h.Sum32() % uint32(lanes)
	if slow {
		lane = uint32(lanes) + h.Sum32()%slowLanes
	}
	subject := fmt.Sprintf("%s%d.%s.%s.%s", laneRoot, lane, aggregate, id, verb)
	if account != "" {
		subject += "." + account
	}
	return subject
}

// account is the account that a stored command came from, empty where clients
// have none.
func (s *streams) account(stored string) string {
	if s.accountRoot == "" {
		return ""
	}
	if lane, ok := strings.CutPrefix(stored, s.laneRoot); ok {
		if tokens := strings.Split(lane, "."); len(tokens) == 5 {
			return tokens[4]
		}
	}
	return s.dev
}

// outcomeSubject is where the outcome of a command goes: only its sender hears it.
func (s *streams) outcomeSubject(account, id string) string {
	if s.accountRoot == "" || account == s.dev {
		return s.outcomeRoot + id
	}
	return s.accountRoot + account + ".outcomes." + id
}

// sender returns who sent a stored command; nil where all clients share the
// engine's account. known is false for a principal that is no more.
func (in *Intake) sender(account string) (caller *identity.Caller, known bool) {
	if in.cfg.Identify == nil {
		return nil, true
	}
	caller = in.cfg.Identify(account)
	return caller, caller != nil
}
