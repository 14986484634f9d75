package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// maxHistory bounds the lines that are kept.
const maxHistory = 2000

// history is the lines typed before, in a file of the person's own. Several programs may add to it.
type history struct {
	path  string // empty: it is only remembered
	lines []string
}

// defaultHistory is where the lines are kept; empty when there is no place for it.
func defaultHistory() string {
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "ds-sandbox", "history")
}

// openHistory reads the file, and shortens it when it has grown. A path of "none" keeps no file.
func openHistory(path string) (*history, error) {
	if path == "none" || path == "" {
		return new(history), nil
	}
	h := &history{path: path}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return new(history), fmt.Errorf("history: %w", err)
	}
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return h, nil
	}
	if err != nil {
		return new(history), fmt.Errorf("history: %w", err)
	}
	for line := range bytes.Lines(data) {
		if text := strings.TrimRight(string(line), "\r\n"); text != "" {
			h.lines = append(h.lines, text)
		}
	}
	if len(h.lines) > 2*maxHistory {
		h.lines = h.lines[len(h.lines)-maxHistory:]
		if err := h.rewrite(); err != nil {
			return h, fmt.Errorf("history: %w", err)
		}
	}
	return h, nil
}

func (h *history) rewrite() error {
	temporary, err := os.CreateTemp(filepath.Dir(h.path), "history-*")
	if err != nil {
		return err
	}
	_, err = temporary.WriteString(strings.Join(h.lines, "\n") + "\n")
	if closeErr := temporary.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temporary.Name(), h.path)
	}
	if err != nil {
		_ = os.Remove(temporary.Name())
	}
	return err
}

// Add keeps a line, unless it says nothing or repeats the last.
func (h *history) Add(line string) {
	if strings.TrimSpace(line) == "" || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	h.lines = append(h.lines, line)
	if len(h.lines) > 2*maxHistory {
		h.lines = h.lines[len(h.lines)-maxHistory:]
	}
	if h.path == "" {
		return
	}
	f, err := os.OpenFile(h.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		h.path = "" // it went away; the lines of this session are still remembered
		return
	}
	_, _ = f.WriteString(line + "\n")
	_ = f.Close()
}

// Len is the number of lines.
func (h *history) Len() int { return len(h.lines) }

// At is a line; 0 is the newest.
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }
