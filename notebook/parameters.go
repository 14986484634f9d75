package notebook

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// The tags of parameters, as papermill has them.
const (
	TagParameters = "parameters"          // the cell holds defaults
	TagInjected   = "injected-parameters" // the cell was made by SetParameters
)

// Parameter is a variable to set before a notebook runs. Value is nil, bool, string, a number, or a []any or
// map[string]any of such.
type Parameter struct {
	Name  string
	Value any
}

// assigned finds the variables that a cell of defaults sets.
var assigned = regexp.MustCompile(`(?m)^([\pL_][\pL\pN_.]*)[ \t]*(?::[^=\n]*)?(?:=|<-)(?:[^=]|$)`)

// Parameters lists the variables set in the cell tagged TagParameters; ok is false when no cell is.
func (nb *Notebook) Parameters() (names []string, ok bool) {
	i := nb.tagged(TagParameters)
	if i < 0 {
		return nil, false
	}
	for _, match := range assigned.FindAllStringSubmatch(nb.Cells[i].Source, -1) {
		if !slices.Contains(names, match[1]) {
			names = append(names, match[1])
		}
	}
	return names, true
}

// SetParameters puts a cell that sets the variables, tagged TagInjected, in the place of an earlier such cell, else
// after the one tagged TagParameters, else at the top; and notes them in the metadata. Without parameters nothing
// changes. Errors: a name that is none in the notebook's language, a value that has no literal in it, and
// backends.ErrUnsupported for languages other than Python, R and Julia.
func (nb *Notebook) SetParameters(parameters []Parameter) error {
	if len(parameters) == 0 {
		return nil
	}
	source, err := nb.assignments(parameters)
	if err != nil {
		return fmt.Errorf("notebook: parameters: %w", err)
	}
	at := nb.tagged(TagInjected)
	if at >= 0 {
		nb.Cells = slices.Delete(nb.Cells, at, at+1)
	} else {
		at = nb.tagged(TagParameters) + 1
	}
	nb.insert(at, Code, source).Metadata["tags"] = []string{TagInjected}
	values := make(map[string]any, len(parameters))
	for _, p := range parameters {
		values[p.Name] = p.Value
	}
	nb.papermill()["parameters"] = values
	return nil
}

// assignments is the code that sets the parameters.
func (nb *Notebook) assignments(parameters []Parameter) (string, error) {
	language := nb.Language()
	if language == "" {
		language = "python"
	}
	s, ok := syntaxes[language]
	if !ok {
		return "", fmt.Errorf("%w: the notebook is in %s; they can be set in Python, R and Julia", backends.ErrUnsupported, language)
	}
	var b strings.Builder
	b.WriteString("# Parameters\n")
	for _, p := range parameters {
		if !s.name.MatchString(p.Name) || slices.Contains(s.keywords, p.Name) {
			return "", fmt.Errorf("%q is no name of a variable in %s", p.Name, language)
		}
		value, err := s.literal(p.Value)
		if err != nil {
			return "", fmt.Errorf("%s: %w", p.Name, err)
		}
		b.WriteString(p.Name + " = " + value + "\n")
	}
	return b.String(), nil
}
