package server

import (
	"context"

	"github.com/ds-sandbox/ds-sandbox/server/bridge"
	"github.com/ds-sandbox/ds-sandbox/server/e2b"
	"github.com/ds-sandbox/ds-sandbox/server/jupyter"
	"github.com/ds-sandbox/ds-sandbox/server/ui"
)

// speak gives the server all dialects. They are closed when the daemon ends.
func (s *Server) speak() {
	sdk := e2b.New(s.fleet, s.keys, &e2b.Options{Domain: s.config.Domain, Logger: s.config.Logger})
	events := bridge.New(bridge.Options{Fleet: s.fleet, Identify: s.keys.Identify, Origins: s.config.Origins, Logger: s.config.Logger})
	// Viewers are requests without an end: they leave when the drain begins.
	s.http.RegisterOnShutdown(func() { _ = events.Close(s.life) })
	kernels := jupyter.New(s.fleet, s.keys, &jupyter.Options{Logger: s.config.Logger})
	s.Mount(Dialects{
		Traffic: sdk.Traffic, Signed: sdk.Signed, Control: sdk.Control, Bridge: events, Jupyter: kernels, Page: ui.New(),
		Close: func(ctx context.Context) error {
			err := events.Close(ctx)
			kernels.Close()
			sdk.Close()
			return err
		},
	})
}
