package jupyter

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// defaultKernel is what is started when none is named.
const defaultKernel = "python3"

// specModel is a kernelspec as the interface has it. Front ends drop one that lacks a member.
type specModel struct {
	Name      string            `json:"name"`
	Spec      spec              `json:"spec"`
	Resources map[string]string `json:"resources"` // no logos: in a container they are not ours to read
}

type spec struct {
	Argv            []string                   `json:"argv"`
	Env             map[string]string          `json:"env"`
	DisplayName     string                     `json:"display_name"`
	Language        string                     `json:"language"`
	InterruptMode   string                     `json:"interrupt_mode"`
	Metadata        map[string]json.RawMessage `json:"metadata"`
	ProtocolVersion string                     `json:"kernel_protocol_version,omitempty"`
}

func newSpecModel(s messaging.KernelSpec) specModel {
	m := specModel{Name: s.Name, Resources: map[string]string{}, Spec: spec{
		Argv: s.Argv, Env: s.Env, DisplayName: s.DisplayName, Language: s.Language, InterruptMode: s.InterruptMode, Metadata: s.Metadata,
		ProtocolVersion: s.ProtocolVersion,
	}}
	if m.Spec.Env == nil {
		m.Spec.Env = map[string]string{}
	}
	if m.Spec.Metadata == nil {
		m.Spec.Metadata = map[string]json.RawMessage{}
	}
	return m
}

// specs are the kernels that can be started, by name.
func (h *Handler) specs(ctx context.Context) (map[string]specModel, error) {
	list, err := h.fleet.Engine().KernelSpecs(ctx)
	if err != nil {
		return nil, err
	}
	specs := make(map[string]specModel, len(list))
	for _, s := range list {
		specs[s.Name] = newSpecModel(s)
	}
	return specs, nil
}

func (h *Handler) kernelSpecs(w http.ResponseWriter, r *http.Request, _ scope) {
	specs, err := h.specs(r.Context())
	if err != nil {
		writeFault(w, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"default": defaultKernel, "kernelspecs": specs})
}

func (h *Handler) kernelSpec(w http.ResponseWriter, r *http.Request, _ scope) {
	specs, err := h.specs(r.Context())
	if err != nil {
		writeFault(w, err)
		return
	}
	if s, ok := specs[r.PathValue("name")]; ok {
		writeJSON(w, http.StatusOK, s)
		return
	}
	writeError(w, http.StatusNotFound, "not_found", noKernel(r.PathValue("name"), specs))
}

// noKernel says what there is instead of a kernel that is not there.
func noKernel(name string, specs map[string]specModel) string {
	return fmt.Sprintf("kernelspec %q was not found: GET /api/kernelspecs lists the %d that there are", clip(name), len(specs))
}
