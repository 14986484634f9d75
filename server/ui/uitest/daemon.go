// Package uitest runs the page for tests: a daemon with what the page needs, and programs of this folder in Node that drive a browser.
package uitest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/bridge"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
	"github.com/ds-sandbox/ds-sandbox/server/ui"
)

// Key opens the daemon.
const Key = "e2b_0123456789abcdef0123456789abcdef01234567"

// Daemon is a daemon on the local backend, with the page, the bridge, and of the control plane what the page asks for.
type Daemon struct {
	URL   string
	Fleet *fleet.Fleet
	owner *fleet.Owner
}

// Open opens a daemon for a test.
func Open(t testing.TB) *Daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "dsu")
	require.NoError(t, err)
	engine, err := sandbox.Open(t.Context(), sandbox.Config{
		DefaultBackend: "local", Python: backendtest.Pythons(t)[0], WorkspaceBaseDir: dir + "/base", RuntimeDir: dir, MaxSpares: sandbox.NoSpares,
	})
	require.NoError(t, err)
	d := &Daemon{owner: &fleet.Owner{Name: "person"}}
	keys, err := access.New(access.Key{Secret: Key, Owner: d.owner})
	require.NoError(t, err)
	d.Fleet, err = fleet.New(engine, nil)
	require.NoError(t, err)
	events := bridge.New(bridge.Options{Fleet: d.Fleet, Identify: keys.Identify})
	mux := http.NewServeMux()
	for _, pattern := range events.Routes() {
		mux.Handle(pattern, events)
	}
	page := ui.New()
	for _, pattern := range page.Routes() {
		mux.Handle(pattern, page)
	}
	mux.HandleFunc("GET /v2/sandboxes", d.owned(keys, d.list))
	mux.HandleFunc("POST /sandboxes", d.owned(keys, d.create))
	mux.HandleFunc("GET /sandboxes/{id}", d.owned(keys, d.get))
	mux.HandleFunc("POST /sandboxes/{id}/timeout", d.owned(keys, d.extend))
	mux.HandleFunc("POST /sandboxes/{id}/pause", d.owned(keys, d.pause))
	mux.HandleFunc("POST /sandboxes/{id}/connect", d.owned(keys, d.extend))
	mux.HandleFunc("DELETE /sandboxes/{id}", d.owned(keys, d.kill))
	server := httptest.NewServer(mux)
	d.URL = server.URL
	t.Cleanup(func() {
		require.NoError(t, events.Close(context.Background()))
		server.Close()
		require.NoError(t, d.Fleet.Close(context.Background()))
		require.NoError(t, engine.Close(context.Background()))
		require.NoError(t, os.RemoveAll(dir))
	})
	return d
}

// Create makes a sandbox.
func (d *Daemon) Create(t testing.TB) *fleet.Member {
	t.Helper()
	m, err := d.Fleet.Create(t.Context(), d.owner, &fleet.Spec{Timeout: time.Hour})
	require.NoError(t, err)
	return m
}

func (d *Daemon) owned(keys *access.Keys, handle http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, err := keys.Identify(r); err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		handle(w, r)
	}
}

// listed is a sandbox as the control plane lists it.
type listed struct {
	SandboxID  string            `json:"sandboxID"`
	TemplateID string            `json:"templateID"`
	Alias      string            `json:"alias,omitempty"`
	StartedAt  time.Time         `json:"startedAt"`
	EndAt      time.Time         `json:"endAt"`
	State      string            `json:"state"`
	Metadata   map[string]string `json:"metadata,omitempty"`
}

func inList(m *fleet.Member) listed {
	info := m.Info()
	return listed{info.ID, info.Template, info.Alias, info.StartedAt, info.EndsAt, string(info.State), info.Metadata}
}

func (d *Daemon) list(w http.ResponseWriter, _ *http.Request) {
	list := []listed{}
	for _, m := range d.Fleet.Members(d.owner) {
		list = append(list, inList(m))
	}
	_ = json.NewEncoder(w).Encode(list)
}

func (d *Daemon) create(w http.ResponseWriter, r *http.Request) {
	m, err := d.Fleet.Create(r.Context(), d.owner, &fleet.Spec{Timeout: time.Hour})
	if err != nil {
		http.Error(w, `{"code":500,"message":"`+err.Error()+`"}`, http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(inList(m))
}

func (d *Daemon) get(w http.ResponseWriter, r *http.Request) {
	m, err := d.Fleet.Get(d.owner, r.PathValue("id"))
	if err != nil {
		http.Error(w, `{"code":404,"message":"not found"}`, http.StatusNotFound)
		return
	}
	_ = json.NewEncoder(w).Encode(inList(m))
}

// extend resumes too.
func (d *Daemon) extend(w http.ResponseWriter, r *http.Request) {
	var wish struct{ Timeout int }
	m, err := d.Fleet.Get(d.owner, r.PathValue("id"))
	if err == nil {
		err = json.NewDecoder(r.Body).Decode(&wish)
	}
	if err == nil && m.Info().State == fleet.Paused {
		err = m.Resume(r.Context(), time.Hour)
	}
	if err == nil {
		err = m.SetTimeout(time.Duration(wish.Timeout) * time.Second)
	}
	if err != nil {
		http.Error(w, `{"code":400,"message":"`+err.Error()+`"}`, http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (d *Daemon) pause(w http.ResponseWriter, r *http.Request) {
	m, err := d.Fleet.Get(d.owner, r.PathValue("id"))
	if err == nil {
		err = m.Pause(r.Context())
	}
	if err != nil {
		http.Error(w, `{"code":409,"message":"`+err.Error()+`"}`, http.StatusConflict)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (d *Daemon) kill(w http.ResponseWriter, r *http.Request) {
	m, err := d.Fleet.Get(d.owner, r.PathValue("id"))
	if err == nil {
		err = m.Kill(r.Context())
	}
	if err != nil {
		http.Error(w, `{"code":404,"message":"not found"}`, http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
