package notebook

import (
	"fmt"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// FromContext makes a notebook of everything that was run in c so far, as its journal has it: a cell for each run, with its
// outputs, as Execute stores them. Blank and silent runs have no cell. What the journal dropped is said where it was. It works
// while a run is under way, and when the context is gone.
func FromContext(c *sandbox.Context) (*Notebook, error) {
	info := c.Info()
	language, err := languageInfo(info)
	if err != nil {
		return nil, fmt.Errorf("notebook: %w", err)
	}
	nb := New(c.Kernel(), displayName(info), info.LanguageInfo.Name)
	nb.Metadata["language_info"] = language
	r := replay{nb: nb, recorder: newRecorder(DefaultMaxOutput)}
	for entry := range c.Journal().All() {
		r.add(entry)
	}
	r.close("")
	giveLibraries(nb, c)
	if state := r.recorder.widgets.metadata(); state != nil {
		nb.Metadata["widgets"] = state
	}
	return nb, nil
}

// displayName is what people call a kernel.
func displayName(info *messaging.KernelInfoReply) string {
	name := info.LanguageInfo.Name
	if name == "" {
		return "kernel"
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// replay makes cells of a journal.
type replay struct {
	nb       *Notebook
	recorder *recorder
	open     bool  // a cell takes what comes
	run      int64 // whose cell that is
}

func (r *replay) add(entry *sandbox.JournalEntry) {
	switch c := entry.Content.(type) {
	case *sandbox.RunBegan:
		if !c.Silent && strings.TrimSpace(c.Code) != "" {
			r.recorder.begin(r.nb.AddCell(Code, c.Code))
			r.open, r.run = true, entry.Run
		}
	case *sandbox.RunOver:
		note := ""
		if c.Err != nil {
			note = strings.TrimPrefix(c.Err.Error(), "sandbox: run: ")
		}
		r.close(note)
	case *sandbox.Dropped:
		note := fmt.Sprintf("%d messages were dropped here, because the journal was full", c.Entries)
		if r.open {
			r.recorder.note(note)
		} else {
			r.nb.AddCell(Markdown, "*"+note+"*")
		}
	default:
		if r.open && (entry.Run == r.run || entry.Run == 0) { // threads of earlier runs have no place in this one
			r.recorder.add(&entry.Event)
		}
	}
}

// close completes the cell, if one is open.
func (r *replay) close(note string) {
	if !r.open {
		return
	}
	r.open = false
	if note != "" {
		r.recorder.note(note)
	}
	r.recorder.end()
}
