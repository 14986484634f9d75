package messaging

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// KernelSpec is the recipe of a kernel: the contents of a kernel.json ("Kernel specs" of jupyter_client).
type KernelSpec struct {
	Argv            []string                   `json:"argv"`
	DisplayName     string                     `json:"display_name"`
	Language        string                     `json:"language"`
	InterruptMode   string                     `json:"interrupt_mode,omitempty"` // "signal" (default) or "message"
	Env             map[string]string          `json:"env,omitempty"`
	Metadata        map[string]json.RawMessage `json:"metadata,omitempty"`
	ProtocolVersion string                     `json:"kernel_protocol_version,omitempty"`

	Name        string `json:"-"` // of its folder, lower case
	ResourceDir string `json:"-"` // its folder
}

// ParseKernelSpec reads the bytes of a kernel.json.
func ParseKernelSpec(b []byte) (*KernelSpec, error) {
	var spec KernelSpec
	if err := json.Unmarshal(b, &spec); err != nil {
		return nil, fmt.Errorf("messaging: kernel.json: %w", err)
	}
	if len(spec.Argv) == 0 {
		return nil, errors.New("messaging: kernel.json: argv is empty")
	}
	switch spec.InterruptMode {
	case "":
		spec.InterruptMode = "signal"
	case "signal", "message":
	default:
		return nil, fmt.Errorf("messaging: kernel.json: interrupt_mode %q is not signal or message", spec.InterruptMode)
	}
	return &spec, nil
}

var placeholder = regexp.MustCompile(`\{[A-Za-z0-9_]+\}`)

// ExpandArgv fills in {connection_file}, {resource_dir}, {prefix} and what else vars names; an unknown
// placeholder stays as it is, a leading ~ becomes the home folder.
func (s *KernelSpec) ExpandArgv(vars map[string]string) []string {
	out := make([]string, len(s.Argv))
	for i, arg := range s.Argv {
		if home, err := os.UserHomeDir(); err == nil && (arg == "~" || strings.HasPrefix(arg, "~/")) {
			arg = filepath.Join(home, strings.TrimPrefix(arg, "~"))
		}
		out[i] = placeholder.ReplaceAllStringFunc(arg, func(p string) string {
			if v, ok := vars[p[1:len(p)-1]]; ok {
				return v
			}
			return p
		})
	}
	return out
}

// ExpandEnv returns the spec's environment with $VAR and ${VAR} filled in from base; unknown ones stay.
func (s *KernelSpec) ExpandEnv(base map[string]string) map[string]string {
	out := make(map[string]string, len(s.Env))
	for k, v := range s.Env {
		out[k] = variable.ReplaceAllStringFunc(v, func(p string) string {
			if value, ok := base[strings.Trim(p, "${}")]; ok {
				return value
			}
			return p
		})
	}
	return out
}

var variable = regexp.MustCompile(`\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*\})`)
