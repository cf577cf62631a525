package tiers

import (
	"errors"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

func NotFound(agent, key string) *domain.Error {
	return domain.Errorf(domain.NotFound, "state.not_found", "agent %s has no entry %s", agent, key)
}

func Behind(tier string, want, at uint64) *domain.Error {
	return domain.Errorf(domain.Unavailable, "read.behind",
		"%s is at revision %d and has not reached %d in time", tier, at, want).
		With("position", at).With("wanted", want)
}

// HeldBack is how a tier refuses to answer with a row that its view leaves out:
// 503 read.behind, for the tier is behind that event and stays there.
func HeldBack(tier string, s events.Stream, revision uint64) *domain.Error {
	return domain.Errorf(domain.Unavailable, "read.behind",
		"%s holds %s back since revision %d, which it cannot apply (engine dlq list); cached and strong reads answer", tier, s, revision).
		With("position", revision-1).With("quarantined", string(s))
}

// isHeldBack tells HeldBack from other errors.
func isHeldBack(err error) bool {
	var known *domain.Error
	return errors.As(err, &known) && known.Code == "read.behind"
}

func Unavailable(tier string, err error) error {
	var known *domain.Error
	if errors.As(err, &known) {
		return known
	}
	if errors.Is(err, events.ErrNewer) {
		return domain.Errorf(domain.Unavailable, "engine.older", "%v: run the build that wrote it, or a later one", err)
	}
	return domain.Errorf(domain.Unavailable, tier+".unavailable", "%s does not answer: %v", tier, err)
}
