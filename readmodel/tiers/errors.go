package tiers

import (
	"errors"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// NotFound is 404 state.not_found.
func NotFound(agent, key string) *domain.Error {
	return domain.Errorf(domain.NotFound, "state.not_found", "agent %s has no entry %s", agent, key)
}

// Behind is 503 read.behind: a tier has not reached a revision in time.
func Behind(tier string, want, at uint64) *domain.Error {
	return domain.Errorf(domain.Unavailable, "read.behind",
		"%s is at revision %d and has not reached %d in time", tier, at, want).
		With("position", at).With("wanted", want)
}

// Quarantined is 503 read.behind for a row that the tier's view has quarantined: the tier lags
// behind that event until a retry succeeds.
func Quarantined(tier string, s events.AggregateName, revision uint64) *domain.Error {
	return domain.Errorf(domain.Unavailable, "read.behind",
		"%s has quarantined %s since revision %d, which it cannot apply (engine dlq list); cached and strong reads answer", tier, s, revision).
		With("position", revision-1).With("quarantined", string(s))
}

// IsBehind reports whether err is read.behind.
func IsBehind(err error) bool {
	var known *domain.Error
	return errors.As(err, &known) && known.Code == "read.behind"
}

// Unavailable is 503 <tier>.unavailable, or the domain error in err.
func Unavailable(tier string, err error) error {
	var known *domain.Error
	if errors.As(err, &known) {
		return known
	}
	if errors.Is(err, events.ErrNewer) {
		return domain.Errorf(domain.Unavailable, "engine.older", "%v: run the build that wrote it, or a later one", err)
	}
	return domain.Errorf(domain.Unavailable, tier+".unavailable", "%s does not answer; send the same request again", tier)
}
