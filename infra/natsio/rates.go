package natsio

import (
	"math"
	"strings"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"

	"github.com/tidemark-engine/tidemark/domain"
)

// Rates bounds the requests a second of each client. A nil Rates has no bound.
type Rates struct {
	limit   int // a second; a client that was quiet may send as many at once
	clients *otter.Cache[string, *rate.Limiter]
}

// ratedClients bounds the clients that are remembered; the ones that were quiet longest
// are forgotten first.
const ratedClients = 20_000

// NewRates returns the bound of perSecond requests a second; nil for 0.
func NewRates(perSecond int) *Rates {
	if perSecond == 0 {
		return nil
	}
	return &Rates{limit: perSecond, clients: otter.Must(&otter.Options[string, *rate.Limiter]{MaximumSize: ratedClients})}
}

// Take counts a request of a client, or refuses it with 429 engine.overloaded.
func (r *Rates) Take(client string) error {
	if r == nil {
		return nil
	}
	l, known := r.clients.GetIfPresent(client)
	if !known {
		l, _ = r.clients.SetIfAbsent(strings.Clone(client), rate.NewLimiter(rate.Limit(r.limit), r.limit)) // client may be a part of a message
	}
	if l.Allow() {
		return nil
	}
	return domain.Errorf(domain.Overloaded, "engine.overloaded", "this client sends more than %d requests a second: retry later", r.limit).
		With("retry_after_ms", int(math.Ceil(1000/float64(r.limit))))
}
