package e2b

import (
	"log/slog"
	"net/http"

	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/e2b/control"
	"github.com/ds-sandbox/ds-sandbox/server/e2b/envd"
	"github.com/ds-sandbox/ds-sandbox/server/e2b/interpreter"
	"github.com/ds-sandbox/ds-sandbox/server/e2b/traffic"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// Options of New. Nil and zero fields are the defaults.
type Options struct {
	Domain string       // see control.Options
	Logger *slog.Logger // nil discards
}

// Dialect is what a server mounts of E2B's protocol. The caller ends it with Close.
type Dialect struct {
	Control http.Handler
	Traffic http.Handler
	Signed  func(r *http.Request) (*fleet.Member, error) // finds the sandbox of a file's signed address, which names none

	traffic *traffic.Handler
}

// New makes the dialect of a fleet, for the owners of keys.
func New(f *fleet.Fleet, keys *access.Keys, opts *Options) *Dialect {
	if opts == nil {
		opts = new(Options)
	}
	files := envd.New(f)
	t := traffic.New(f, keys, files, interpreter.New(&interpreter.Options{Logger: opts.Logger}))
	return &Dialect{Control: control.New(f, keys, &control.Options{Domain: opts.Domain}), Traffic: t, Signed: files.Signed, traffic: t}
}

// Close closes connections to servers in sandboxes that no request uses; those in use end with their requests.
func (d *Dialect) Close() { d.traffic.Close() }
