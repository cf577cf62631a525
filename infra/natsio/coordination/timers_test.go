package coordination_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// TestTimers: a timer fires with the fraction of its second and never early, also
// behind many timers that fail again and again; one beyond the range of the
// schedule does not fire.
func TestTimers(t *testing.T) {
	t.Parallel()
	nc := support.Engine(t, support.NATS(t))
	timers, err := coordination.OpenTimers(t.Context(), nc, natsio.NewSubjects(""), harness.Log(t))
	harness.Must(t, err)
	const poisoned = 300 // more than a client's or a consumer's buffer
	for i := range poisoned {
		harness.Must(t, nc.Publish(fmt.Sprint("timers.due.poison.", i), nil))
	}
	for _, at := range []time.Time{
		time.Date(2262, 4, 12, 0, 0, 0, 0, time.UTC), time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		harness.Must(t, timers.Set(t.Context(), fmt.Sprint("far-", at.Year()), at))
	}
	set := map[string]time.Time{}
	start := time.Now().Add(1100 * time.Millisecond)
	for i := range 20 { // of every fraction
		name := fmt.Sprint("fraction-", i)
		set[name] = start.Add(time.Duration(i) * 53 * time.Millisecond)
		harness.Must(t, timers.Set(t.Context(), name, set[name]))
	}
	type firing struct {
		name string
		at   time.Time
	}
	fired := make(chan firing, len(set))
	harness.Must(t, timers.Watch(func(_ context.Context, name string) error {
		if strings.HasPrefix(name, "poison.") {
			return errors.New("poisoned")
		}
		fired <- firing{name, time.Now()}
		return nil
	}))
	defer timers.Stop()
	for range set {
		f := harness.Receive(t, "a timer", fired)
		if at, ok := set[f.name]; !ok || f.at.Before(at) {
			t.Errorf("%s fired at %s, set for %s", f.name, f.at, at)
		}
		delete(set, f.name)
	}
}
