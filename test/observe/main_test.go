// Package observe_test watches an engine as an operator does: its traces with a collector,
// its metrics, its profiles and engine top.
package observe_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

func TestMain(m *testing.M) { harness.Main(m) }

type M = harness.M

// world is one engine for all tests, whose way to Postgres can be cut.
type world struct {
	*harness.Engine
	c         *harness.Client
	sql       *harness.Proxy
	collector *collector
}

func TestObserve(t *testing.T) {
	w := &world{collector: startCollector(t)}
	u, err := url.Parse(support.Postgres(t))
	harness.Must(t, err)
	w.sql = harness.NewProxy(t, u.Host)
	w.Engine = harness.Start(t, harness.Config{
		SQL:  strings.Replace(u.String(), u.Host, w.sql.Address, 1),
		Args: []string{"--pprof", "--lifecycle", "manual"},
		Env:  []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + w.collector.url, "OTEL_BSP_SCHEDULE_DELAY=100"},
	})
	w.c = w.Client(t)
	t.Run("one trace from the client to KV, SQL and the feeds", w.oneTrace)
	t.Run("an enqueued command is in its trace", w.enqueued)
	t.Run("an unsampled trace records nothing", w.unsampled)
	t.Run("a batch links to the traces of its events", w.links)
	t.Run("metrics are clean and listed", w.metricsListed)
	t.Run("top once", w.topOnce)
	t.Run("top live", w.topLive)
	t.Run("the page", func(t *testing.T) { w.RunPage(t, "docs/howto/monitor.md") })
	t.Run("profiles", w.profiles)
	t.Run("the lag is shown while Postgres is away", w.sqlAway)
}

// set sends a command with a trace context.
func (w *world) set(t *testing.T, agent, key string, value any, traceparent string) harness.Receipt {
	t.Helper()
	body, err := w.c.Ask(t.Context(), &nats.Msg{
		Subject: "commands.agent." + agent + ".set", Data: []byte(`{"key":"` + key + `","value":` + encoded(t, value) + `}`),
		Header: nats.Header{"traceparent": {traceparent}},
	})
	harness.Must(t, err)
	return receipt(t, body)
}
