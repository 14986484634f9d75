package notebook

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// The percent format: a script whose cells begin with lines like
//
//	# %% Optional title [markdown] tags=["a", "b"]
//
// Editors know it as Spyder's, VS Code's or Jupytext's. Text cells are comments; so are magics, which are not the language.

var (
	marker    = regexp.MustCompile(`^#[ \t]*%%+(?:[ \t]+(.*))?$`)
	cellTypes = regexp.MustCompile(`(?:^|[ \t])\[(markdown|md|raw|code)\]`)
	optionKey = regexp.MustCompile(`(?:^|[ \t])([A-Za-z_][\w.-]*)[ \t]*=[ \t]*`)
	preamble  = regexp.MustCompile(`^#(!|.*coding[:=])`)
)

// FromScript makes a notebook of a script in the percent format, or of any other as one cell. What stands above the first
// marker is a cell too, except for a header of Jupytext, whose metadata the notebook gets.
func FromScript(text string) (*Notebook, error) {
	if !utf8.ValidString(text) {
		return nil, &FormatError{Err: errors.New("the script is not UTF-8")}
	}
	lines := scriptLines(strings.TrimPrefix(text, "\ufeff"))
	nb := New("python3", "Python 3", "python")
	lines, err := nb.takeHeader(lines)
	if err != nil {
		return nil, err
	}
	options, marked := "", false
	start := 0
	flush := func(end int) error {
		body := trimBlank(lines[start:end])
		if !marked && len(body) == 0 {
			return nil
		}
		return nb.addFromScript(options, body)
	}
	for i, line := range lines {
		match := marker.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		if err := flush(i); err != nil {
			return nil, err
		}
		options, marked, start = match[1], true, i+1
	}
	return nb, flush(len(lines))
}

// scriptLines splits text at the line ends of every system.
func scriptLines(text string) []string {
	return strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), "\n")
}

// takeHeader reads the YAML in comments between lines "# ---" at the top and returns the lines after it.
func (nb *Notebook) takeHeader(lines []string) ([]string, error) {
	top := 0
	for top < len(lines) && (preamble.MatchString(lines[top]) || strings.TrimSpace(lines[top]) == "") {
		top++
	}
	if top == len(lines) || strings.TrimRight(lines[top], " ") != "# ---" {
		return lines, nil
	}
	length := slices.IndexFunc(lines[top+1:], func(line string) bool { return strings.TrimRight(line, " ") == "# ---" })
	if length < 0 {
		return lines, nil
	}
	var header struct {
		Jupyter map[string]any `yaml:"jupyter"`
	}
	source := strings.Join(uncomment(lines[top+1:top+1+length]), "\n")
	if err := yaml.Unmarshal([]byte(source), &header); err != nil {
		return nil, &FormatError{Where: "the header", Err: err}
	}
	delete(header.Jupyter, "jupytext")
	for key, value := range header.Jupyter {
		plain, err := plainYAML(value)
		if err != nil {
			return nil, &FormatError{Where: "the header", Err: err}
		}
		if _, known := nb.Metadata[key]; known {
			if _, ok := plain.(map[string]any); !ok {
				continue
			}
		}
		nb.Metadata[key] = plain
	}
	if language := nb.metadataText("kernelspec", "language"); language != "" {
		nb.Metadata["language_info"] = map[string]any{"name": language}
	}
	return lines[top+length+2:], nil
}

// addFromScript appends the cell that a marker's options and the lines under it describe.
func (nb *Notebook) addFromScript(options string, body []string) error {
	kind := Code
	if at := cellTypes.FindStringSubmatchIndex(options); at != nil {
		switch options[at[2]:at[3]] {
		case "markdown", "md":
			kind = Markdown
		case "raw":
			kind = Raw
		}
		options = options[:at[0]] + options[at[1]:]
	}
	metadata, err := scriptOptions(options)
	if err != nil {
		return fmt.Errorf("notebook: %w", &FormatError{Where: "the marker \"# %% " + options + "\"", Err: err})
	}
	switch kind {
	case Code:
		body = unescapeCode(body)
	default:
		body = scriptText(body)
	}
	nb.AddCell(kind, strings.Join(body, "\n")).Metadata = metadata
	return nil
}

// scriptOptions reads a title and pairs of a name and a JSON value.
func scriptOptions(text string) (map[string]any, error) {
	metadata := map[string]any{}
	first := optionKey.FindStringIndex(text)
	title := text
	if first != nil {
		title, text = text[:first[0]], text[first[0]:]
	} else {
		text = ""
	}
	if title = strings.TrimSpace(title); title != "" {
		metadata["title"] = title
	}
	for strings.TrimSpace(text) != "" {
		at := optionKey.FindStringSubmatchIndex(text)
		if at == nil || at[0] != 0 {
			return nil, fmt.Errorf("%q is no NAME=VALUE", strings.TrimSpace(text))
		}
		p := &parser{text: text[at[1]:]}
		v, err := p.value()
		if err != nil {
			return nil, fmt.Errorf("the value of %s is no JSON: %w", text[at[2]:at[3]], err)
		}
		metadata[text[at[2]:at[3]]] = v
		text = p.text[p.at:]
	}
	return metadata, nil
}

func trimBlank(lines []string) []string {
	for len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// markerText is a line that would be a marker if it were commented out. It gets a "# " more.
var markerText = regexp.MustCompile(`^(?:# )*[ \t]*%%+(?:[ \t].*)?$`)

func comment(lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		if markerText.MatchString(line) {
			line = "# " + line
		}
		if out[i] = "# " + line; line == "" {
			out[i] = "#"
		}
	}
	return out
}

func uncomment(lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		line = strings.TrimPrefix(strings.TrimPrefix(line, "#"), " ")
		if rest, ok := strings.CutPrefix(line, "# "); ok && markerText.MatchString(rest) {
			line = rest
		}
		out[i] = line
	}
	return out
}

// scriptText is the text of a cell that is no code: a comment, or a string in three quotes.
func scriptText(body []string) []string {
	for _, quotes := range []string{`"""`, `'''`} {
		text := strings.TrimPrefix(strings.Join(body, "\n"), "r")
		inner, opened := strings.CutPrefix(text, quotes)
		inner, closed := strings.CutSuffix(inner, quotes)
		if opened && closed {
			return strings.Split(strings.TrimSuffix(strings.TrimPrefix(inner, "\n"), "\n"), "\n")
		}
	}
	if slices.ContainsFunc(body, func(line string) bool { return line != "" && line[0] != '#' }) {
		return body
	}
	return uncomment(body)
}

// Magics are commands to IPython. A line with one, and a line that looks like a marker, gets a "# " more in the script.
var (
	magicLine = regexp.MustCompile(`^[ \t]*(%{1,2}[A-Za-z_]|!\S|\?{1,2}[A-Za-z_]` + // %magic, !command, ?help
		`|[A-Za-z_][\w., ]*=[ \t]*[!%][A-Za-z_]` + // x = !command
		`|[A-Za-z_][\w.]*\?{1,2}[ \t]*$)`) // help?
	cellMagic = regexp.MustCompile(`^%%([A-Za-z_]\w*)`)
	pythonic  = []string{"time", "timeit", "capture", "prun"} // cell magics whose body is Python
)

// needsEscape reports whether a line of code would be lost in a script, however often it is commented out.
func needsEscape(line string) bool {
	for {
		if magicLine.MatchString(line) || marker.MatchString(line) {
			return true
		}
		rest, commented := strings.CutPrefix(line, "# ")
		if !commented {
			return false
		}
		line = rest
	}
}

// foreign reports whether a cell of code is one of another language, by its magic.
func foreign(body []string) bool {
	if len(body) == 0 {
		return false
	}
	name := cellMagic.FindStringSubmatch(body[0])
	return name != nil && !slices.Contains(pythonic, name[1])
}

func escapeCode(body []string) []string {
	if foreign(body) {
		return comment(body)
	}
	out := slices.Clone(body)
	for i, line := range out {
		if needsEscape(line) {
			out[i] = "# " + line
		}
	}
	return out
}

func unescapeCode(body []string) []string {
	if len(body) > 0 && foreign(uncomment(body[:1])) && strings.HasPrefix(body[0], "# %%") {
		return uncomment(body)
	}
	out := slices.Clone(body)
	for i, line := range out {
		if rest, ok := strings.CutPrefix(line, "# "); ok && needsEscape(rest) {
			out[i] = rest
		}
	}
	return out
}

// hashComments are the languages of kernels whose comments begin with "#".
var hashComments = []string{"python", "r", "julia", "bash", "ruby", "perl", "octave", "sage", "elixir", "tcl", "powershell"}

// unscripted are the keys of a cell's metadata that are about one run or one view of it.
var unscripted = []string{"execution", "papermill", "collapsed", "scrolled", "trusted", "ExecuteTime", "title"}

// Script is the notebook as a script in the percent format. FromScript gives the same cells back, without outputs,
// attachments, and blank lines at the ends of cells.
//
// Errors: backends.ErrUnsupported for a language whose comments do not begin with "#".
func (nb *Notebook) Script() (string, error) {
	if language := nb.Language(); language != "" && !slices.Contains(hashComments, language) {
		return "", fmt.Errorf("notebook: script: %w: a notebook in %s, whose comments do not begin with #", backends.ErrUnsupported, language)
	}
	var b strings.Builder
	if spec, ok := nb.Metadata["kernelspec"].(map[string]any); ok {
		header, err := yaml.Marshal(map[string]any{"jupyter": map[string]any{"kernelspec": spec}})
		if err != nil {
			return "", fmt.Errorf("notebook: script: %w", err)
		}
		lines := strings.Split(strings.TrimSuffix(string(header), "\n"), "\n")
		b.WriteString("# ---\n" + strings.Join(comment(lines), "\n") + "\n# ---\n")
	}
	for _, c := range nb.Cells {
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(c.marker() + "\n")
		body := trimBlank(scriptLines(c.Source))
		if c.Type == Code {
			body = escapeCode(body)
		} else {
			body = comment(body)
		}
		for _, line := range body {
			b.WriteString(line + "\n")
		}
	}
	return b.String(), nil
}

// marker is the line above the cell.
func (c *Cell) marker() string {
	line := "# %%"
	if title, _ := c.Metadata["title"].(string); !strings.ContainsAny(title, "[]=\r\n") && strings.TrimSpace(title) != "" {
		line += " " + strings.TrimSpace(title)
	}
	switch c.Type {
	case Code:
	case Markdown:
		line += " [markdown]"
	default:
		line += " [raw]"
	}
	for _, key := range slices.Sorted(maps.Keys(c.Metadata)) {
		if slices.Contains(unscripted, key) || !optionKey.MatchString(key+"=") {
			continue
		}
		if value, err := appendJSON(nil, c.Metadata[key], 0); err == nil {
			line += " " + key + "=" + oneLine(value)
		}
	}
	return line
}

// oneLine is JSON of ours on one line: breaks stand only between values, never in strings.
func oneLine(value []byte) string {
	var b strings.Builder
	for line := range strings.Lines(string(value)) {
		line = strings.TrimLeft(strings.TrimSuffix(line, "\n"), " ")
		b.WriteString(line)
		if strings.HasSuffix(line, ",") {
			b.WriteByte(' ')
		}
	}
	return b.String()
}
