package local

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/agent"
)

// sweep removes what engines of this user left that were killed: processes, runtime folders, workspaces. Who holds a lock
// lives, and is never touched. It goes by the locks in the base folder too, for runtime folders go when a user logs
// out or the machine starts anew.
func sweep(ctx context.Context, runtimeRoot string, own *base, logger *slog.Logger) {
	notes := sweepRuntime(runtimeRoot, logger)
	marks := make([]string, 0, len(notes))
	for _, n := range notes {
		marks = append(marks, n.Mark)
	}
	if err := agent.KillMarked(marks...); err != nil {
		logger.Warn("sweep after a dead engine", "error", err)
	}
	sweepBase(ctx, own, logger)
	swept := map[string]bool{own.dir: true}
	for _, n := range notes {
		if swept[n.Base] || !filepath.IsAbs(n.Base) {
			continue
		}
		swept[n.Base] = true
		if _, err := os.Lstat(n.Base); err != nil {
			continue
		}
		other, err := openBase(n.Base)
		if err != nil {
			logger.Warn("sweep after a dead engine", "error", err)
			continue
		}
		sweepBase(ctx, other, logger)
		_ = other.close()
	}
}

// sweepBase removes the sandboxes in a base folder whose engines are dead.
func sweepBase(ctx context.Context, b *base, logger *slog.Logger) {
	dir, err := b.root.Open(".")
	if err != nil {
		return
	}
	names, _ := dir.Readdirnames(-1) // what could be read
	_ = dir.Close()
	for _, name := range names {
		id, ok := strings.CutPrefix(name, privateName(""))
		if !ok || !validID.MatchString(id) || ctx.Err() != nil {
			continue
		}
		if err := sweepSandbox(ctx, b, id); err != nil {
			logger.Warn("sweep after a dead engine", "base", b.dir, "sandbox", id, "error", err)
		}
	}
}

func sweepSandbox(ctx context.Context, b *base, id string) error {
	info, err := b.root.Lstat(privateName(id))
	if err != nil || !ours(info) {
		return nil
	}
	lock, n, err := seize(b.root, path.Join(privateName(id), ownerName))
	if errors.Is(err, fs.ErrNotExist) && stale(info) {
		_ = b.root.Remove(privateName(id)) // only if it is empty
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) || lock == nil {
		return nil
	}
	defer func() { _ = lock.Close() }()
	if info, err := b.root.Lstat(workspaceName(id)); err == nil && ownerOf(info) != os.Geteuid() {
		return nil
	}
	if err := agent.KillMarked(n.Mark); err != nil {
		return err
	}
	return b.removeSandbox(ctx, id)
}
