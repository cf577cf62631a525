package observe_test

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collect "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// collector receives spans over OTLP.
type collector struct {
	url string

	mu      sync.Mutex
	spans   []*otlp.Span
	service string
	raw     strings.Builder // all that was sent
	broken  []string
}

func startCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	harness.Must(t, err)
	s := httptest.NewUnstartedServer(http.HandlerFunc(c.receive))
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	c.url = s.URL
	return c
}

func (c *collector) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var req collect.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &req)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || r.URL.Path != "/v1/traces" {
		c.broken = append(c.broken, r.URL.Path+": "+http.StatusText(http.StatusBadRequest))
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.raw.Write(body)
	for _, rs := range req.GetResourceSpans() {
		for _, a := range rs.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				c.service = a.GetValue().GetStringValue()
			}
		}
		for _, ss := range rs.GetScopeSpans() {
			c.spans = append(c.spans, ss.GetSpans()...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	answer, _ := proto.Marshal(&collect.ExportTraceServiceResponse{}) // an empty message
	_, _ = w.Write(answer)                                            // the engine asks again
}

// trace is the spans of a trace by name.
func (c *collector) trace(id string) map[string][]*otlp.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := map[string][]*otlp.Span{}
	for _, s := range c.spans {
		if hex.EncodeToString(s.GetTraceId()) == id {
			found[s.GetName()] = append(found[s.GetName()], s)
		}
	}
	return found
}

// await waits for spans with these names in a trace.
func (c *collector) await(t *testing.T, id string, names ...string) map[string][]*otlp.Span {
	t.Helper()
	harness.Eventually(t, "the trace "+id+" has "+strings.Join(names, ", "), func() bool {
		spans := c.trace(id)
		return !slices.ContainsFunc(names, func(n string) bool { return len(spans[n]) == 0 })
	})
	return c.trace(id)
}

// sent is everything that was sent, for a search.
func (c *collector) sent() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.raw.String()
}

func attribute(s *otlp.Span, key string) any {
	for _, a := range s.GetAttributes() {
		if a.GetKey() == key {
			if text := a.GetValue().GetStringValue(); text != "" {
				return text
			}
			return a.GetValue().GetIntValue()
		}
	}
	return nil
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	harness.Must(t, err)
	return string(b)
}

func receipt(t *testing.T, body []byte) (r harness.Receipt) {
	t.Helper()
	harness.Must(t, json.Unmarshal(body, &r))
	return r
}
