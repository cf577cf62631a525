package projections_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/projections"
)

// TestLagOfAnAbandonedView: the lag of a standby view grows while no engine runs it.
func TestLagOfAnAbandonedView(t *testing.T) {
	r := &projections.Runner{View: "hot", Progress: projections.NewProgress(1)}
	r.Standby()
	start := time.Now()
	for _, c := range []struct {
		after  time.Duration
		at     uint64
		lag    uint64
		waited float64
		reason string
	}{
		{0, 0, 10, 0, ""},
		{5 * time.Second, 0, 10, 5, ""},
		{20 * time.Second, 0, 10, 20, "no engine"},
		{21 * time.Second, 4, 6, 0, ""}, // another engine makes progress
		{23 * time.Second, 4, 6, 2, ""},
		{24 * time.Second, 10, 0, 0, ""},
	} {
		r.Progress.Set(0, c.at)
		s := r.Status(10, start.Add(c.after))
		if s.State != projections.Standby || s.LagEvents != c.lag || s.LagSeconds != c.waited || !strings.HasPrefix(s.Reason, c.reason) || c.reason == "" && s.Reason != "" {
			t.Errorf("after %s at %d: %+v", c.after, c.at, s)
		}
	}
}
