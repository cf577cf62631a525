package retention

import (
	"math"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/events"
)

// A purge of one stream searches each block of the server's file between the stream's first and last
// message in it, one message after the other (filestore.go, PurgeEx). That search, not the removal,
// takes the time of a trim whose aggregates changed for a long time.
const (
	blockSize       = 8 << 20 // of nats-server, for a stream without limits
	messageOverhead = 150     // bytes of a message's record, headers and subject root
	patternFactor   = 3       // a search for a pattern takes so much longer
	purgeSearch     = 10_000  // messages that the server looks at in the time of one purge more
)

// groupOf returns the pattern of the streams of an agent; empty for other streams, which have no
// names in common.
func groupOf(name events.AggregateName) events.AggregateName {
	if kind, rest, _ := strings.Cut(string(name), "."); kind == "agent" || kind == "config" {
		id, _, _ := strings.Cut(rest, ".")
		return events.AggregateName(kind + "." + id + ".>")
	}
	return ""
}

// inGroups adds a purge of all streams of an agent before the purges of each where one search for all
// of them takes less time: up to the revision that all of them lose.
func inGroups(streams []trimStream, keepFrom map[events.AggregateName]uint64) []trimStream {
	groups := map[events.AggregateName][]trimStream{}
	for _, s := range streams {
		groups[groupOf(s.name)] = append(groups[groupOf(s.name)], s)
	}
	all := groups[""]
	for pattern, members := range groups {
		if pattern == "" {
			continue
		}
		common := trimStream{name: pattern, first: math.MaxUint64, before: keepFrom[pattern]}
		saved, rest := 0.0, []trimStream(nil)
		for _, m := range members {
			common.first = min(common.first, m.first)
			part := 0.0 // of the member's search that the common one replaces
			if common.before > m.first {
				part = min(1, float64(common.before-m.first)/float64(m.before-m.first))
			}
			saved += m.search * part
			common.search = max(common.search, patternFactor*m.search*part)
			if m.search *= 1 - part; m.before > common.before {
				rest = append(rest, m)
			}
		}
		if saved > common.search+purgeSearch {
			all = append(all, common)
			for i := range rest {
				rest[i].first = max(rest[i].first, common.before)
			}
			members = rest
		}
		all = append(all, members...)
	}
	return all
}

// searchCost is the measured time in which the server looks at one message.
const searchCost = 80 * time.Nanosecond

// work estimates the purge of a stream.
func (t *Trim) work(s *trimStream) time.Duration {
	return t.PurgeCost + time.Duration(s.search*float64(searchCost))
}

// estimate estimates the time of all purges.
func (t *Trim) estimate(p *TrimPlan) {
	took := t.PurgeCost // of the common purge
	for i := range p.streams {
		took += t.work(&p.streams[i])
	}
	p.Seconds = took.Seconds()
}

// measuredAfter is the number of purges whose time corrects the estimate.
const measuredAfter = 64

// measured reports the whole time of the purges, from the time of the first ones.
func (t *Trim) measured(p *TrimPlan, first []trimStream, took time.Duration) {
	estimate := time.Duration(0)
	for i := range first {
		estimate += t.work(&first[i])
	}
	if t.Measured != nil && estimate > 0 {
		t.Measured(p.Seconds * took.Seconds() / estimate.Seconds())
	}
}
