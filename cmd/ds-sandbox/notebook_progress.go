package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/notebook"
)

// barWidth is how many characters the bar has.
const barWidth = 20

// cellProgress shows how far a notebook is: on a terminal a bar with the cell under way and the time it takes so far,
// elsewhere a line for each cell.
type cellProgress struct {
	err   io.Writer
	line  *progress
	total int
	start time.Time
	done  int // cells that have ended

	mu      sync.Mutex // guards what follows, and the line
	text    string     // of the cell under way
	started time.Time  // of that cell
	quit    chan struct{}
	ended   chan struct{}
}

func newCellProgress(w io.Writer, nb *notebook.Notebook) *cellProgress {
	p := &cellProgress{err: w, line: newProgress(w), start: time.Now()}
	for _, c := range nb.Cells {
		if c.Runs() {
			p.total++
		}
	}
	if p.line.width > 0 {
		p.quit, p.ended = make(chan struct{}), make(chan struct{})
		p.started, p.text = time.Now(), "starting"
		go p.tick()
	}
	return p
}

// tick draws the bar anew as time passes.
func (p *cellProgress) tick() {
	defer close(p.ended)
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			p.draw()
		case <-p.quit:
			return
		}
	}
}

func (p *cellProgress) draw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	full := barWidth * p.done / max(p.total, 1)
	p.line.line(fmt.Sprintf("[%s%s] %d/%d  %s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), p.done, p.total, p.text))
}

// cell hears of a cell; it is ExecuteOptions.OnCell.
func (p *cellProgress) cell(_ int, c *notebook.Cell, status notebook.Status) {
	p.mu.Lock()
	first, _, _ := strings.Cut(strings.TrimSpace(c.Source), "\n")
	if status == notebook.StatusRunning {
		p.text, p.started = first, time.Now()
	} else {
		p.done++
	}
	took := time.Since(p.started)
	p.mu.Unlock()
	if p.line.width > 0 {
		p.draw()
	} else if status != notebook.StatusRunning {
		p.note("cell %d of %d %s in %.2fs: %s", p.done, p.total, status, took.Seconds(), shortened(printable(first), 60))
	}
}

// end leaves the terminal as it was.
func (p *cellProgress) end() {
	if p.quit != nil {
		close(p.quit)
		<-p.ended
	}
	p.line.end()
}

func (p *cellProgress) took() time.Duration { return time.Since(p.start).Round(10 * time.Millisecond) }

func (p *cellProgress) note(format string, args ...any) {
	fmt.Fprintf(p.err, "[ds-sandbox] "+format+"\n", args...)
}

// shortened is text of at most n characters.
func shortened(text string, n int) string {
	runes := []rune(text)
	if len(runes) <= n {
		return text
	}
	return string(runes[:n-1]) + "…"
}
