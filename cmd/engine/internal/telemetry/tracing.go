package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/time/rate"

	"github.com/tidemark-engine/tidemark/internal/trace"
)

// tracingStop bounds the export of the last spans: a collector that is away delays no stop.
const tracingStop = 3 * time.Second

// StartTracing exports spans as the standard OTEL_* variables say, which the SDK reads:
// endpoint, headers and timeout of the exporter, sampler, limits, batches, resource.
// Without them it returns nil and tracing is off. A wrong setting is a warning and no
// reason not to serve.
func StartTracing(ctx context.Context, version string, log *slog.Logger) (_ *trace.Tracer, stop func(context.Context)) {
	stop = func(context.Context) {}
	if !tracingOn(os.Getenv) {
		return nil, stop
	}
	exporter, err := newExporter(ctx, os.Getenv)
	if err != nil {
		log.Warn("tracing is off", "error", err)
		return nil, stop
	}
	from, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "tidemark"), attribute.String("service.version", version)),
		resource.WithFromEnv())
	if err != nil {
		log.Warn("tracing: a part of OTEL_RESOURCE_ATTRIBUTES is left out", "error", err)
	}
	seldom := rate.Sometimes{First: 1, Interval: time.Minute} // a collector that is away fails each export
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		seldom.Do(func() { log.Warn("tracing: spans are lost", "error", err) })
	}))
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(from))
	log.Info("traces are exported", "protocol", protocol(os.Getenv))
	return trace.NewTracer(provider, version), func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, tracingStop)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.Warn("tracing: the last spans are lost", "error", err)
		}
	}
}

// tracingOn reports whether the environment asks for traces: OTEL_TRACES_EXPORTER says
// so, or an endpoint is given.
func tracingOn(env func(string) string) bool {
	if strings.EqualFold(env("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	if name := env("OTEL_TRACES_EXPORTER"); name != "" {
		return name != "none"
	}
	return env("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

func protocol(env func(string) string) string {
	return cmp.Or(env("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), env("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf")
}

func newExporter(ctx context.Context, env func(string) string) (*otlptrace.Exporter, error) {
	if name := cmp.Or(env("OTEL_TRACES_EXPORTER"), "otlp"); name != "otlp" {
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER is %.64q; this engine has otlp and none", name)
	}
	switch p := protocol(env); p {
	case "http/protobuf":
		return otlptracehttp.New(ctx)
	case "grpc":
		return otlptracegrpc.New(ctx)
	default:
		return nil, fmt.Errorf("the OTLP protocol is %.64q; this engine has http/protobuf and grpc", p)
	}
}
