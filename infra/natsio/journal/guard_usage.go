package journal

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/domain"
)

// Usage is the storage of the journal's account in bytes; Limit -1 = none.
type Usage struct {
	Used  int64 `json:"used"`
	Limit int64 `json:"limit"`
	// Journal is what the journal's streams take, JournalLimit what they may take by their own
	// configuration; -1 = they have no limit.
	Journal      int64 `json:"journal"`
	JournalLimit int64 `json:"journal_limit"`
}

// margin is the room in bytes below which the journal counts as full.
const margin = 4 << 10

// measure compares the storage that the account and the streams use with their
// limits.
func (g *Guard) measure(ctx context.Context, infos []*jetstream.StreamInfo) {
	account, err := g.j.js.AccountInfo(ctx)
	if err != nil {
		return
	}
	u := Usage{Used: int64(account.Store), Limit: -1}
	tier := account.Tier
	if t, ok := account.Tiers["R"+strconv.Itoa(g.j.Replicas())]; ok {
		tier, u.Used = t, int64(t.Store)
	}
	if tier.Limits.MaxStore > 0 {
		u.Limit = tier.Limits.MaxStore
	}
	for _, c := range infos {
		u.Journal += int64(c.State.Bytes) //nolint:gosec // a size of files fits
		if c.Config.MaxBytes <= 0 || u.JournalLimit < 0 {
			u.JournalLimit = -1
			continue
		}
		u.JournalLimit += c.Config.MaxBytes
	}
	g.usage.Store(&u)
	full := u.Limit > 0 && u.Used+margin > u.Limit
	for _, c := range infos {
		full = full || c.Config.MaxBytes > 0 && int64(c.State.Bytes)+margin > c.Config.MaxBytes ||
			c.Config.MaxMsgs > 0 && int64(c.State.Msgs) >= c.Config.MaxMsgs
	}
	if full {
		g.limit.Store(limitReached)
	} else if time.Since(time.Unix(0, g.refused.Load())).Abs() > limitMemory { // the clock may be set back
		g.limit.Store(nil)
	}
}

// limitMemory is how long a refused append counts as a full journal: a limit of
// the whole server shows in no account.
const limitMemory = 2 * time.Second

// limitReached is the state of a journal without room on its server. The server
// itself refuses the appends.
var limitReached = domain.Errorf(domain.Unavailable, "journal.full", "a storage limit of the NATS server, the account or the journal's stream is reached")

// Usage returns the storage of the journal's account; nil = unknown.
func (g *Guard) Usage() *Usage { return g.usage.Load() }

// Room returns why the journal takes no events; nil = it has room.
func (g *Guard) Room() error {
	return orNil(cmp.Or(g.other.Load(), g.stop.Load(), g.limit.Load()))
}
