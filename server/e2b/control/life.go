package control

import (
	"net/http"
	"time"

	"github.com/ds-sandbox/ds-sandbox/server/fault"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

func (h *Handler) get(w http.ResponseWriter, r *http.Request, owner *fleet.Owner) error {
	m, err := h.member(r, owner)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, h.detailBody(m))
}

func (h *Handler) kill(w http.ResponseWriter, r *http.Request, owner *fleet.Owner) error {
	m, err := h.member(r, owner)
	if err != nil {
		return err
	}
	if err := m.Kill(r.Context()); err != nil {
		return err
	}
	return answer(w, http.StatusNoContent, nil)
}

// lifeBody asks for time, or for another state.
type lifeBody struct {
	Timeout  *int64 `json:"timeout"`  // seconds
	Duration *int64 `json:"duration"` // seconds
	Memory   *bool  `json:"memory"`   // of a pause: keep it; of a connect: go on with it
}

// life reads a request about a sandbox's life.
func (h *Handler) life(w http.ResponseWriter, r *http.Request, owner *fleet.Owner) (*fleet.Member, lifeBody, error) {
	var body lifeBody
	m, err := h.member(r, owner)
	if err == nil {
		err = decode(w, r, &body)
	}
	return m, body, err
}

// setTimeout has the sandbox end so long from now, sooner or later than it would have.
func (h *Handler) setTimeout(w http.ResponseWriter, r *http.Request, owner *fleet.Owner) error {
	m, body, err := h.life(w, r, owner)
	if err != nil {
		return err
	}
	if body.Timeout == nil {
		return badf("timeout: it is missing: say how many seconds from now the sandbox is to end")
	}
	d, err := duration("timeout", body.Timeout, 0)
	if err == nil {
		err = m.SetTimeout(d)
	}
	if err != nil {
		return err
	}
	return answer(w, http.StatusNoContent, nil)
}

// refresh is setTimeout that never brings the end forward.
func (h *Handler) refresh(w http.ResponseWriter, r *http.Request, owner *fleet.Owner) error {
	m, body, err := h.life(w, r, owner)
	if err != nil {
		return err
	}
	d, err := duration("duration", body.Duration, timeoutV1)
	if err == nil {
		err = m.Extend(d)
	}
	if err != nil {
		return err
	}
	return answer(w, http.StatusNoContent, nil)
}

// connect gives what is needed to use a sandbox, has it running, and puts its end off.
func (h *Handler) connect(w http.ResponseWriter, r *http.Request, owner *fleet.Owner) error {
	m, body, err := h.life(w, r, owner)
	if err != nil {
		return err
	}
	d, err := duration("timeout", body.Timeout, timeoutV2)
	if err != nil {
		return err
	}
	if body.Memory != nil && !*body.Memory && m.Info().State == fleet.Paused { // one that runs is not started anew
		return refusef(fault.Unsupported, "memory: %s", reasonMemory)
	}
	resumed, err := m.Connect(r.Context(), d)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if resumed {
		status = http.StatusCreated
	}
	return answer(w, status, h.sandboxBody(m))
}

// resume is what connect was called once; one that runs is an error to it.
func (h *Handler) resume(w http.ResponseWriter, r *http.Request, owner *fleet.Owner) error {
	m, body, err := h.life(w, r, owner)
	if err != nil {
		return err
	}
	d, err := duration("timeout", body.Timeout, timeoutV1)
	if err != nil {
		return err
	}
	if err := m.Resume(r.Context(), d); err != nil {
		return err
	}
	return answer(w, http.StatusCreated, h.sandboxBody(m))
}

func (h *Handler) pause(w http.ResponseWriter, r *http.Request, owner *fleet.Owner) error {
	m, body, err := h.life(w, r, owner)
	if err != nil {
		return err
	}
	if body.Memory != nil && !*body.Memory {
		return refusef(fault.Unsupported, "memory: %s", reasonMemory)
	}
	if err := m.Pause(r.Context()); err != nil {
		return err
	}
	return answer(w, http.StatusNoContent, nil)
}

// forkedBody is one of the sandboxes that a fork was to make, or why it is not there.
type forkedBody struct {
	Sandbox *sandboxBody `json:"sandbox,omitempty"`
	Error   *errorBody   `json:"error,omitempty"`
}

func (h *Handler) fork(w http.ResponseWriter, r *http.Request, owner *fleet.Owner) error {
	var body struct {
		Timeout *int64 `json:"timeout"` // seconds
		Count   *int   `json:"count"`
	}
	m, err := h.member(r, owner)
	if err == nil {
		err = decode(w, r, &body)
	}
	if err != nil {
		return err
	}
	var d time.Duration // that of the sandbox itself
	if d, err = duration("timeout", body.Timeout, 0); err != nil {
		return err
	}
	count := 1
	if body.Count != nil {
		count = *body.Count
	}
	forks, err := m.Fork(r.Context(), count, d)
	if err != nil {
		return err
	}
	list := make([]forkedBody, len(forks))
	for i, f := range forks {
		if f.Err != nil {
			list[i].Error = describe(f.Err)
			continue
		}
		made := h.sandboxBody(f.Member)
		list[i].Sandbox = &made
	}
	return answer(w, http.StatusCreated, list)
}
