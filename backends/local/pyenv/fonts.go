package pyenv

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/agent"
)

// WarmFonts lets matplotlib make its list of fonts once, for all sandboxes to copy; without it each sandbox
// spends seconds on its first figure. It does nothing when the list is there or there is no matplotlib.
func WarmFonts(ctx context.Context, p *agent.Python) error {
	if p.FontCache == "" {
		return nil
	}
	if lists, _ := filepath.Glob(filepath.Join(p.FontCache, "fontlist-*.json")); len(lists) > 0 {
		return nil
	}
	if err := os.MkdirAll(p.FontCache, 0o700); err != nil {
		return fmt.Errorf("make font list: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.Executable, "-I", "-c", "import matplotlib.font_manager")
	cmd.Env = append(os.Environ(), "MPLCONFIGDIR="+p.FontCache)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make font list: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
