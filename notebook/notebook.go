package notebook

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The format of the notebooks that this package makes. Those it reads keep their minor version.
const (
	Major = 4
	Minor = 5
)

// Notebook is a document of cells, nbformat 4.
//
// JSON values in it (metadata, bundles, attachments) are nil, bool, string, []any, map[string]any and, for a number of a
// file, json.Number with its digits as they stood, NaN and Infinity among them. Whatever else encoding/json can write may be put there.
type Notebook struct {
	Cells    []*Cell
	Metadata map[string]any
	Minor    int      // the minor version of the format; cells have ids on disk from 5 on
	Repairs  []string // what Read had to mend, in words

	extra map[string]any // what the format does not know
}

// CellType is what a cell holds. Reading makes raw cells of types that are not known.
type CellType string

// The types of cells.
const (
	Code     CellType = "code"
	Markdown CellType = "markdown"
	Raw      CellType = "raw"
)

// Cell is a piece of a notebook.
type Cell struct {
	ID             string // 1 to 64 of [A-Za-z0-9-_], unique in the notebook
	Type           CellType
	Source         string
	Metadata       map[string]any
	Attachments    map[string]any // of markdown and raw cells: bundles by file name; nil normally
	Outputs        []*Output      // of code cells
	ExecutionCount *int           // of code cells; nil when the cell was not run

	extra map[string]any
}

// OutputType is the kind of an output. Types that are not known are kept.
type OutputType string

// The types of outputs.
const (
	Stream        OutputType = "stream"
	DisplayData   OutputType = "display_data"
	ExecuteResult OutputType = "execute_result"
	Error         OutputType = "error"
)

// Output is one thing that a cell showed. Fields of other types are empty.
type Output struct {
	Type OutputType

	Name string // Stream: stdout or stderr
	Text string // Stream

	Data           map[string]any // DisplayData, ExecuteResult: the thing in several forms, by MIME type
	Metadata       map[string]any // DisplayData, ExecuteResult
	Caption        string         // what a chart shows, in words; of outputs recorded here, and never stored
	ExecutionCount *int           // ExecuteResult

	EName     string   // Error
	EValue    string   // Error
	Traceback []string // Error: lines, with ANSI colours

	extra map[string]any
}

// New returns a notebook without cells for a kernel ("python3") of a language ("python").
func New(kernel, displayName, language string) *Notebook {
	return &Notebook{Minor: Minor, Cells: []*Cell{}, Metadata: map[string]any{
		"kernelspec":    map[string]any{"name": kernel, "display_name": displayName, "language": language},
		"language_info": map[string]any{"name": language},
	}}
}

// AddCell appends a cell and returns it. Its id is made from its place and source, so that the same cells give the same file.
func (nb *Notebook) AddCell(t CellType, source string) *Cell {
	return nb.insert(len(nb.Cells), t, source)
}

// insert puts a new cell at index i.
func (nb *Notebook) insert(i int, t CellType, source string) *Cell {
	taken := make(map[string]bool, len(nb.Cells))
	for _, c := range nb.Cells {
		taken[c.ID] = true
	}
	c := newCell(t, source)
	c.ID = freshID(taken, i, source)
	nb.Cells = slices.Insert(nb.Cells, i, c)
	return c
}

func newCell(t CellType, source string) *Cell {
	c := &Cell{Type: t, Source: source, Metadata: map[string]any{}}
	if t == Code {
		c.Outputs = []*Output{}
	}
	return c
}

// freshID is an id that is not taken, made from a cell's place and source.
func freshID(taken map[string]bool, place int, source string) string {
	for salt := 0; ; salt++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %s", salt, place, source))
		if id := hex.EncodeToString(sum[:4]); !taken[id] {
			return id
		}
	}
}

var validID = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

// Kernel is the name of the kernel that the notebook asks for; empty when it asks for none.
func (nb *Notebook) Kernel() string { return nb.metadataText("kernelspec", "name") }

// Language is the language of the notebook's code, in lower case; empty when the notebook does not say.
func (nb *Notebook) Language() string {
	language := nb.metadataText("language_info", "name")
	if language == "" {
		language = nb.metadataText("kernelspec", "language")
	}
	return strings.ToLower(language)
}

func (nb *Notebook) metadataText(object, key string) string {
	values, _ := nb.Metadata[object].(map[string]any)
	text, _ := values[key].(string)
	return text
}

// Tags lists the tags of the cell.
func (c *Cell) Tags() []string {
	switch list := c.Metadata["tags"].(type) {
	case []string:
		return list
	case []any:
		var tags []string
		for _, item := range list {
			if tag, ok := item.(string); ok {
				tags = append(tags, tag)
			}
		}
		return tags
	}
	return nil
}

// HasTag reports whether the cell has a tag.
func (c *Cell) HasTag(tag string) bool { return slices.Contains(c.Tags(), tag) }

// setMetadata sets a key of the cell's metadata, which may be nil.
func (c *Cell) setMetadata(key string, value any) {
	if c.Metadata == nil {
		c.Metadata = map[string]any{}
	}
	c.Metadata[key] = value
}

// tagged is the index of the first cell with a tag, -1 if none has it.
func (nb *Notebook) tagged(tag string) int {
	return slices.IndexFunc(nb.Cells, func(c *Cell) bool { return c.HasTag(tag) })
}
