package telemetry

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	collect "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/tidemark-engine/tidemark/internal/trace"
)

// receiver takes spans over OTLP with gRPC.
type receiver struct {
	collect.UnimplementedTraceServiceServer
	got chan *collect.ExportTraceServiceRequest
}

func (r *receiver) Export(_ context.Context, req *collect.ExportTraceServiceRequest) (*collect.ExportTraceServiceResponse, error) {
	r.got <- req
	return &collect.ExportTraceServiceResponse{}, nil
}

func TestTracesOverGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{got: make(chan *collect.ExportTraceServiceRequest, 10)}
	server := grpc.NewServer()
	collect.RegisterTraceServiceServer(server, r)
	go func() { _ = server.Serve(l) }() // it ends with Stop
	defer server.Stop()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+l.Addr().String())
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=mine,team=a")
	tracer, stop := StartTracing(t.Context(), "1.2.3", slog.New(slog.DiscardHandler))
	span, _ := tracer.Receive(trace.Context{}, "commands.agent.set", time.Now())
	span.End()
	stop(t.Context())
	got := (<-r.got).GetResourceSpans()[0]
	attributes := map[string]string{}
	for _, a := range got.GetResource().GetAttributes() {
		attributes[a.GetKey()] = a.GetValue().GetStringValue()
	}
	if name := got.GetScopeSpans()[0].GetSpans()[0].GetName(); name != "commands.agent.set" || attributes["service.name"] != "mine" ||
		attributes["service.version"] != "1.2.3" || attributes["team"] != "a" {
		t.Errorf("got span %s of %v", name, attributes)
	}
}

// The standard variables decide, and a wrong one is no reason not to serve.
func TestTracingIsOffByDefault(t *testing.T) {
	for _, c := range []struct {
		env string // NAME=VALUE, separated by spaces
		on  bool
		log string
	}{
		{"", false, ""},
		{"OTEL_SERVICE_NAME=x OTEL_TRACES_SAMPLER=always_on", false, ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", true, "exported"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:1/v1/traces", true, "exported"},
		{"OTEL_TRACES_EXPORTER=otlp", true, "exported"},
		{"OTEL_TRACES_EXPORTER=none OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", false, ""},
		{"OTEL_SDK_DISABLED=true OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", false, ""},
		{"OTEL_TRACES_EXPORTER=zipkin", false, "zipkin"},
		{"OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_PROTOCOL=http/json", false, "http/json"},
	} {
		t.Run(c.env, func(t *testing.T) {
			for _, name := range []string{"OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"} {
				t.Setenv(name, "")
			}
			for kv := range strings.FieldsSeq(c.env) {
				name, value, _ := strings.Cut(kv, "=")
				t.Setenv(name, value)
			}
			var log strings.Builder
			tracer, stop := StartTracing(t.Context(), "1", slog.New(slog.NewTextHandler(&log, nil)))
			stop(t.Context())
			if (tracer != nil) != c.on || !strings.Contains(log.String(), c.log) {
				t.Errorf("on is %t, the log says %s", tracer != nil, log.String())
			}
		})
	}
}

// A sampler that chooses nothing leaves the client's context as it came.
func TestSamplerOfTheEnvironment(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	tracer, stop := StartTracing(t.Context(), "1", slog.New(slog.DiscardHandler))
	defer stop(t.Context())
	sent := trace.Context{Parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", State: "a=b"}
	if span, carried := tracer.Receive(sent, "commands.agent.set", time.Now()); span.Recording() || carried != sent || tracer.Begin(sent, "decide").Recording() {
		t.Errorf("recorded, or %v is carried", carried)
	}
	if span, carried := tracer.Receive(trace.Context{}, "commands.agent.set", time.Now()); span.Recording() || carried.Parent != "" {
		t.Errorf("a command without a trace has got %v", carried)
	}
}
