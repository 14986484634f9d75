package server

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/ds-sandbox/ds-sandbox/server/access"
)

// tracing sends spans of requests to a collector, where one is configured by OpenTelemetry's own variables.
type tracing struct {
	provider *sdktrace.TracerProvider // nil is none
	tracer   trace.Tracer
	carrier  propagation.TraceContext
}

// tracingVariables turn tracing on; the rest of OTEL_... is the exporter's.
var tracingVariables = []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"}

// newTracing reads the environment. No collector need be there: what can't be sent is dropped.
func newTracing(ctx context.Context) (*tracing, error) {
	on := false
	for _, name := range tracingVariables {
		on = on || os.Getenv(name) != ""
	}
	if !on {
		return new(tracing), nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "ds-sandbox")), resource.WithFromEnv(), resource.WithTelemetrySDK())
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	otel.SetTracerProvider(provider) // that of the fleet's spans
	return &tracing{provider: provider, tracer: provider.Tracer("github.com/ds-sandbox/ds-sandbox/server")}, nil
}

// close sends what there is.
func (t *tracing) close(ctx context.Context) error {
	if t.provider == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// requestSpan is the span of a request; the zero value is none.
type requestSpan struct{ span trace.Span }

// start begins the span of a request, below the client's own if it sent one.
func (t *tracing) start(r *http.Request, c class) (context.Context, requestSpan) {
	ctx := r.Context()
	if t.provider == nil {
		return ctx, requestSpan{}
	}
	ctx = t.carrier.Extract(ctx, propagation.HeaderCarrier(r.Header))
	ctx, span := t.tracer.Start(ctx, r.Method+" "+string(c), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", r.Method), attribute.String("url.path", clip(access.WithoutKey(r.URL.Path), 256)),
	))
	return ctx, requestSpan{span}
}

func (s requestSpan) end(status int, seen *sight) {
	if s.span == nil {
		return
	}
	s.span.SetAttributes(attribute.Int("http.response.status_code", status), attribute.String("request.id", seen.id))
	if seen.target != "" {
		s.span.SetAttributes(attribute.String("sandbox.id", seen.target))
	}
	if status >= 500 || seen.panic != nil {
		s.span.SetStatus(codes.Error, http.StatusText(status))
	}
	s.span.End()
}
