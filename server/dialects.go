package server

import (
	"context"

	"github.com/ds-sandbox/ds-sandbox/server/bridge"
	"github.com/ds-sandbox/ds-sandbox/server/e2b/control"
	"github.com/ds-sandbox/ds-sandbox/server/e2b/envd"
	"github.com/ds-sandbox/ds-sandbox/server/e2b/interpreter"
	"github.com/ds-sandbox/ds-sandbox/server/e2b/traffic"
	"github.com/ds-sandbox/ds-sandbox/server/jupyter"
	"github.com/ds-sandbox/ds-sandbox/server/ui"
)

// speak gives the server all dialects. They are closed when the daemon ends.
func (s *Server) speak() {
	files := envd.New(s.fleet)
	ports := traffic.New(s.fleet, s.keys, files, interpreter.New(&interpreter.Options{Logger: s.config.Logger}))
	events := bridge.New(bridge.Options{Fleet: s.fleet, Identify: s.keys.Identify, Origins: s.config.Origins, Logger: s.config.Logger})
	channels := jupyter.New(s.fleet, s.keys, &jupyter.Options{Logger: s.config.Logger})
	s.Mount(Dialects{
		Traffic: ports,
		Signed:  files.Signed,
		Control: control.New(s.fleet, s.keys, &control.Options{Domain: s.config.Domain}),
		Bridge:  events,
		Jupyter: channels,
		Page:    ui.New(),
		Close: func(ctx context.Context) error {
			err := events.Close(ctx)
			channels.Close()
			ports.Close()
			return err
		},
	})
}
