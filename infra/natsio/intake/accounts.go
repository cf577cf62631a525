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

// laneSubject is where a command of a principal is stored: in the lane that the
// server computes for the same aggregate.
func laneSubject(laneRoot string, lanes int, aggregate, id, verb, account string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(aggregate + id)) // it never fails
	return fmt.Sprintf("%s%d.%s.%s.%s.%s", laneRoot, h.Sum32()%uint32(lanes), aggregate, id, verb, account)
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
