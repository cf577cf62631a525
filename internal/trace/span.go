package trace

import (
	"context"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	otel "go.opentelemetry.io/otel/trace"
)

// Tracer records spans. A nil Tracer records none and costs nothing: tracing is off.
type Tracer struct{ tracer otel.Tracer }

// NewTracer records spans with a provider of OpenTelemetry.
func NewTracer(p otel.TracerProvider, version string) *Tracer {
	return &Tracer{p.Tracer("github.com/tidemark-engine/tidemark", otel.WithInstrumentationVersion(version))}
}

// Span is one step of a request. The zero Span records nothing.
type Span struct{ span otel.Span }

// Receive starts the span of a request that arrived at a time with the context c of its
// client, and returns the context that its events carry. Where the sampler does not
// choose the request, the span records nothing and the context stays the client's.
func (t *Tracer) Receive(c Context, name string, arrived time.Time) (Span, Context) {
	if t == nil {
		return Span{}, c
	}
	return t.start(c, name, arrived, otel.SpanKindServer)
}

// Consume is Receive for a request that waited in a stream.
func (t *Tracer) Consume(c Context, name string, arrived time.Time) (Span, Context) {
	if t == nil {
		return Span{}, c
	}
	return t.start(c, name, arrived, otel.SpanKindConsumer)
}

func (t *Tracer) start(c Context, name string, arrived time.Time, kind otel.SpanKind) (Span, Context) {
	_, span := t.tracer.Start(remote(c), name, otel.WithSpanKind(kind), otel.WithTimestamp(arrived))
	if !span.IsRecording() {
		return Span{}, c
	}
	of := span.SpanContext()
	return Span{span}, Context{
		Parent: "00-" + of.TraceID().String() + "-" + of.SpanID().String() + "-" + of.TraceFlags().String(),
		State:  of.TraceState().String(),
	}
}

// Begin starts a span below a sampled context. Below another one it records nothing.
func (t *Tracer) Begin(c Context, name string) Span {
	if t == nil || !c.Sampled() {
		return Span{}
	}
	return t.at(c, name, time.Time{})
}

// Since is Begin for a step that began at a time, as a part of others, which it links to.
func (t *Tracer) Since(c Context, name string, began time.Time, of ...Span) Span {
	if t == nil || !c.Sampled() {
		return Span{}
	}
	var links []otel.Link
	for _, s := range of {
		if s.Recording() {
			links = append(links, otel.Link{SpanContext: s.span.SpanContext()})
		}
	}
	return t.at(c, name, began, otel.WithLinks(links...))
}

// Batch starts the span of work for several traces that began at a time: a root that
// links to what each context names.
func (t *Tracer) Batch(name string, began time.Time, contexts []Context) Span {
	if t == nil {
		return Span{}
	}
	links := make([]otel.Link, 0, len(contexts))
	for _, c := range contexts {
		links = append(links, otel.Link{SpanContext: otel.SpanContextFromContext(remote(c))})
	}
	_, span := t.tracer.Start(context.Background(), name, otel.WithNewRoot(), otel.WithTimestamp(began), otel.WithLinks(links...))
	return recorded(span)
}

func (t *Tracer) at(c Context, name string, began time.Time, more ...otel.SpanStartOption) Span {
	if !began.IsZero() {
		more = append(more, otel.WithTimestamp(began))
	}
	_, span := t.tracer.Start(remote(c), name, more...)
	return recorded(span)
}

func recorded(span otel.Span) Span {
	if !span.IsRecording() {
		return Span{}
	}
	return Span{span}
}

// Recording reports whether the span is recorded.
func (s Span) Recording() bool { return s.span != nil }

// Int adds a number to the span.
func (s Span) Int(key string, n int64) {
	if s.span != nil {
		s.span.SetAttributes(attribute.Int64(key, n))
	}
}

// Text adds a word of a known set to the span. Ids, keys and values are none.
func (s Span) Text(key, word string) {
	if s.span != nil {
		s.span.SetAttributes(attribute.String(key, word))
	}
}

// Failed marks the span as failed with an error code of the wire contract. An error's
// text may hold values, so it stays out.
func (s Span) Failed(code string) {
	if s.span != nil {
		s.span.SetAttributes(attribute.String("error.type", code))
		s.span.SetStatus(codes.Error, "")
	}
}

// End ends the span.
func (s Span) End() {
	if s.span != nil {
		s.span.End()
	}
}

// Sampled reports whether the sender of the context records its trace.
func (c Context) Sampled() bool {
	if len(c.Parent) < parentLength {
		return false
	}
	flags, err := strconv.ParseUint(c.Parent[parentLength-2:parentLength], 16, 8)
	return err == nil && flags&1 == 1
}

// remote is a context whose parent span is the one that c names.
func remote(c Context) context.Context {
	ctx := context.Background()
	if len(c.Parent) < parentLength {
		return ctx
	}
	id, err := otel.TraceIDFromHex(c.Parent[3:35])
	if err != nil {
		return ctx
	}
	span, err := otel.SpanIDFromHex(c.Parent[36:52])
	if err != nil {
		return ctx
	}
	flags := otel.TraceFlags(0)
	if c.Sampled() {
		flags = otel.FlagsSampled
	}
	state, err := otel.ParseTraceState(strings.TrimSpace(c.State))
	if err != nil {
		state = otel.TraceState{}
	}
	return otel.ContextWithRemoteSpanContext(ctx, otel.NewSpanContext(otel.SpanContextConfig{
		TraceID: id, SpanID: span, TraceFlags: flags, TraceState: state, Remote: true,
	}))
}
