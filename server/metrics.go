package server

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ds-sandbox/ds-sandbox/server/fault"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// Times of what happens, seconds.
var (
	shortTimes = prometheus.ExponentialBuckets(0.001, 2, 16) // 1 ms to 33 s
	longTimes  = prometheus.ExponentialBuckets(0.001, 3, 15) // 1 ms to 80 min
)

// metrics are the daemon's figures.
type metrics struct {
	registry *prometheus.Registry

	creates  *prometheus.HistogramVec // by start kind
	runs     *prometheus.HistogramVec // by language and outcome
	ends     *prometheus.CounterVec   // by reason
	errors   *prometheus.CounterVec   // by kind
	requests *prometheus.HistogramVec // by class and status
	received *prometheus.CounterVec   // bytes, by class
	sent     *prometheus.CounterVec
	panics   prometheus.Counter

	mu        sync.Mutex // guards languages
	languages map[string]bool
}

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry(), languages: make(map[string]bool)}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "ds_sandbox", Name: name, Help: help, Buckets: buckets,
		}, labels)
		m.registry.MustRegister(h)
		return h
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "ds_sandbox", Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	m.creates = histogram("create_seconds", "Time until a sandbox was there, by how its interpreter was started.", shortTimes, "start")
	m.runs = histogram("run_seconds", "Time of runs of code, by language and how they ended.", longTimes, "language", "outcome")
	m.requests = histogram("request_seconds", "Time of requests, by class and status.", longTimes, "class", "status")
	m.ends = counter("ends_total", "Sandboxes that ended, by reason.", "reason")
	m.errors = counter("errors_total", "Creates that were refused or failed and runs that did not end as runs do, by kind.", "kind")
	m.received = counter("received_bytes_total", "Bytes of requests' bodies, by class.", "class")
	m.sent = counter("sent_bytes_total", "Bytes of answers' bodies, by class.", "class")
	m.panics = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "ds_sandbox", Name: "panics_total", Help: "Handlers that panicked: faults of the daemon.",
	})
	m.registry.MustRegister(m.panics, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// watch adds what is looked up when it is asked for.
func (m *metrics) watch(f *fleet.Fleet, c *conns) {
	gauge := func(name, help string, labels prometheus.Labels, value func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "ds_sandbox", Name: name, Help: help, ConstLabels: labels,
		}, value))
	}
	for _, state := range []fleet.State{fleet.Running, fleet.Paused} {
		gauge("live", "Sandboxes that live.", prometheus.Labels{"state": string(state)}, func() float64 {
			n := 0
			for _, member := range f.Members(nil) {
				if member.State() == state {
					n++
				}
			}
			return float64(n)
		})
	}
	gauge("spares", "Sandboxes that are kept ready.", nil, func() float64 { return float64(f.Engine().Metrics().Spares) })
	gauge("connections", "Connections of clients, without websockets.", nil, func() float64 { return float64(c.count()) })
}

// observer has the figures follow what happens in a fleet.
func (m *metrics) observer() fleet.Observer {
	return fleet.Observer{
		Created: func(member *fleet.Member, took time.Duration) {
			m.creates.WithLabelValues(orNone(string(member.Sandbox().Info().Start.Kind))).Observe(took.Seconds())
		},
		Refused: func(err error) { m.errors.WithLabelValues("create_" + string(fault.CodeOf(err))).Inc() },
		Ended:   func(_ *fleet.Member, why fleet.EndReason) { m.ends.WithLabelValues(why.Word()).Inc() },
		Ran: func(_ *fleet.Member, run fleet.Run) {
			m.runs.WithLabelValues(m.language(run.Language), run.Outcome()).Observe(run.Took.Seconds())
			if run.Err != nil {
				m.errors.WithLabelValues("run_" + run.Outcome()).Inc()
			}
		},
	}
}

// maxLanguages bounds a label that clients have a say in.
const maxLanguages = 32

func (m *metrics) language(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.languages[name] {
		if len(m.languages) >= maxLanguages || len(name) > 40 {
			return "other"
		}
		m.languages[name] = true
	}
	return orNone(name)
}

func orNone(label string) string {
	if label == "" {
		return "none"
	}
	return label
}

func (m *metrics) request(c class, w *response, took time.Duration) {
	status := "none"
	if w.status != 0 {
		status = strconv.Itoa(w.status/100) + "xx"
	}
	m.requests.WithLabelValues(string(c), status).Observe(took.Seconds())
	m.sent.WithLabelValues(string(c)).Add(float64(w.written))
	if w.body != nil {
		m.received.WithLabelValues(string(c)).Add(float64(w.body.received()))
	}
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}
