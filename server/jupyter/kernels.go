package jupyter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// listed is a context seen as a kernel.
type listed struct {
	member  *fleet.Member
	context *sandbox.Context
}

// id is the context's in the form of a UUID, which some front ends insist on.
func (k listed) id() string {
	id := k.context.ID()
	if len(id) != 32 {
		return id
	}
	return strings.Join([]string{id[:8], id[8:12], id[12:16], id[16:20], id[20:]}, "-")
}

// contextID is the other way round.
func contextID(kernelID string) string { return strings.ToLower(strings.ReplaceAll(kernelID, "-", "")) }

// kernels are those of a scope, in the order of their creation.
func (h *Handler) kernels(s scope) []listed {
	var list []listed
	for _, m := range h.members(s) {
		for _, c := range m.Sandbox().Contexts() {
			list = append(list, listed{m, c})
		}
	}
	return list
}

// find answers for a kernel that is not there.
func (h *Handler) find(w http.ResponseWriter, r *http.Request, s scope) (listed, bool) {
	id := r.PathValue("id")
	k, ok := h.lookup(s, id)
	if !ok {
		writeError(w, http.StatusNotFound, "not_found", "Kernel does not exist: "+clip(id))
	}
	return k, ok
}

func (h *Handler) lookup(s scope, id string) (listed, bool) {
	wanted := contextID(id)
	for _, m := range h.members(s) {
		if c, err := m.Sandbox().Context(wanted); err == nil {
			return listed{m, c}, true
		}
	}
	return listed{}, false
}

// model is a kernel as the interface has it; sandbox_id is ours.
type model struct {
	ID             string `json:"id"`
	Name           string `json:"name"`
	LastActivity   string `json:"last_activity"`
	ExecutionState string `json:"execution_state"`
	Connections    int    `json:"connections"`
	SandboxID      string `json:"sandbox_id"`
}

func (h *Handler) model(k listed) model {
	return model{
		ID: k.id(), Name: k.context.Kernel(), LastActivity: date(k.context.LastActivity()), ExecutionState: h.state(k),
		Connections: h.connections(k.id()), SandboxID: k.member.ID(),
	}
}

// state is one of the words that front ends know.
func (h *Handler) state(k listed) string {
	if k.member.Info().State == fleet.Paused {
		return "unknown"
	}
	switch state := k.context.State(); state {
	case kernel.Stuck:
		return "busy"
	case kernel.Dead:
		if h.reviving(k.id()) {
			return "restarting"
		}
		return "dead"
	default:
		return string(state)
	}
}

func (h *Handler) list(w http.ResponseWriter, _ *http.Request, s scope) {
	models := []model{}
	for _, k := range h.kernels(s) {
		models = append(models, h.model(k))
	}
	writeJSON(w, http.StatusOK, models)
}

func (h *Handler) show(w http.ResponseWriter, r *http.Request, s scope) {
	if k, ok := h.find(w, r, s); ok {
		writeJSON(w, http.StatusOK, h.model(k))
	}
}

// order is the body of POST /api/kernels.
type order struct {
	Name string            `json:"name"`
	Path string            `json:"path"` // of a folder in the workspace; counts for kernels of a sandbox that is there
	Env  map[string]string `json:"env"`
	// KernelID is what jupyter_server's own sessions ask for: the kernel of this id, if there is one.
	KernelID string `json:"kernel_id"`
}

// maxOrder bounds the body of a request, bytes.
const maxOrder = 1 << 20

// readOrder reads a body whatever type it claims to have, because browsers' clients send JSON as text; none is an empty order.
func readOrder(w http.ResponseWriter, r *http.Request) (order, error) {
	var o order
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder)).Decode(&o)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if o.Name == "" {
		o.Name = defaultKernel
	}
	return o, err
}

func (h *Handler) create(w http.ResponseWriter, r *http.Request, s scope) {
	o, err := readOrder(w, r)
	if err != nil {
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			writeFault(w, err)
			return
		}
		writeError(w, http.StatusBadRequest, "invalid_argument", "Invalid JSON in body of request: "+err.Error())
		return
	}
	if o.KernelID != "" {
		k, ok := h.lookup(s, o.KernelID)
		if !ok {
			writeError(w, http.StatusBadRequest, "invalid_argument", "kernel_id names no kernel: leave it out, the id is given by the server")
			return
		}
		h.created(w, s, k)
		return
	}
	specs, err := h.specs(r.Context())
	if err != nil {
		writeFault(w, err)
		return
	}
	if _, known := specs[strings.ToLower(o.Name)]; !known {
		writeError(w, http.StatusNotFound, "not_found", noKernel(o.Name, specs))
		return
	}
	var k listed
	if s.member != nil {
		k, err = h.createContext(r, s.member, o)
	} else {
		k, err = h.createSandbox(r, s.owner, o)
	}
	if err != nil {
		writeFault(w, err)
		return
	}
	h.created(w, s, k)
}

func (h *Handler) created(w http.ResponseWriter, s scope, k listed) {
	w.Header().Set("Location", s.base+"/api/kernels/"+k.id())
	writeJSON(w, http.StatusCreated, h.model(k))
}

// createSandbox makes a sandbox whose default context is the kernel. Its path would be one of another machine's.
func (h *Handler) createSandbox(r *http.Request, owner *fleet.Owner, o order) (listed, error) {
	m, err := h.fleet.Create(r.Context(), owner, &fleet.Spec{
		Language: o.Name, Env: o.Env, Timeout: h.opts.KernelTimeout, Metadata: map[string]string{"made_by": "jupyter"},
	})
	if err != nil {
		return listed{}, err
	}
	c := m.Sandbox().DefaultContext()
	if c == nil {
		return listed{}, fmt.Errorf("%w: %s", fleet.ErrNotFound, m.ID())
	}
	k := listed{m, c}
	h.mu.Lock()
	h.made[k.id()] = m
	h.mu.Unlock()
	return k, nil
}

// createContext makes a context in a sandbox that is there, in the folder of the path that is nearest to it.
func (h *Handler) createContext(r *http.Request, m *fleet.Member, o order) (listed, error) {
	ctx, detach := m.Attach(r.Context())
	defer detach()
	if err := m.Awake(ctx); err != nil {
		return listed{}, err
	}
	c, err := m.Sandbox().CreateContext(ctx, &sandbox.ContextOptions{
		Language: o.Name, Dir: nearestDir(ctx, m.Sandbox().Files(), o.Path), Env: o.Env,
	})
	if err != nil {
		return listed{}, err
	}
	return listed{m, c}, nil
}

// maxDepth bounds the folders of a path that are looked for.
const maxDepth = 32

// nearestDir is the folder that a path names, or the first above it that is there; "" is the workspace.
func nearestDir(ctx context.Context, files *sandbox.Files, name string) string {
	name = strings.Trim(name, "/")
	if strings.Count(name, "/") >= maxDepth {
		return ""
	}
	for name != "" {
		if info, err := files.Info(ctx, name); err == nil && info.Type == backends.TypeDir {
			return name
		}
		name = name[:max(0, strings.LastIndexByte(name, '/'))]
	}
	return ""
}

func (h *Handler) remove(w http.ResponseWriter, r *http.Request, s scope) {
	k, ok := h.find(w, r, s)
	if !ok {
		return
	}
	if err := h.discard(r.Context(), k); err != nil {
		writeFault(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *Handler) interrupt(w http.ResponseWriter, r *http.Request, s scope) {
	k, ok := h.find(w, r, s)
	if !ok {
		return
	}
	err := k.member.Awake(r.Context())
	if err == nil {
		err = k.context.Interrupt(r.Context())
	}
	if err != nil {
		writeFault(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *Handler) restart(w http.ResponseWriter, r *http.Request, s scope) {
	k, ok := h.find(w, r, s)
	if !ok {
		return
	}
	err := k.member.Awake(r.Context())
	if err == nil {
		err = h.renew(r.Context(), k)
	}
	if err != nil {
		writeFault(w, err)
		return
	}
	writeJSON(w, http.StatusOK, h.model(k))
}
