package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/notebook"
	"github.com/ds-sandbox/ds-sandbox/report"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// resultFolder saves results in the order they come: result-1.png, table-2.csv and so on, one file for each form. An
// update of a display replaces what it showed before.
type resultFolder struct {
	dir   string // empty: nothing is saved
	count int
	shown map[string]savedResult // by display id
}

// savedResult is what was saved of a result.
type savedResult struct {
	number int
	files  []string
}

// maxDisplays bounds how many displays are remembered for their updates.
const maxDisplays = 10_000

// form is a file of a result.
type form struct {
	kind, ext string // "result", ".png"
	data      []byte
}

// check makes the folder and finds out whether it can be written to, before anything runs for nothing.
func (f *resultFolder) check() error {
	if f.dir == "" {
		return nil
	}
	err := os.MkdirAll(f.dir, 0o755)
	if err == nil {
		err = checkWritable(f.dir)
	}
	if err != nil {
		return usagef("--out: %w", err)
	}
	return nil
}

// ours are the names of files that an earlier run left in the folder.
var ours = regexp.MustCompile(`^(result-[1-9]\d*\.(png|jpg|pdf|svg|gif|webp|bmp|tiff|html|md|tex|json|txt)|chart-[1-9]\d*\.json|` +
	`table-[1-9]\d*\.csv|report\.html)$`)

// clear removes what an earlier run left: nothing in the folder shall be taken for a result of this one.
func (f *resultFolder) clear() error {
	if f.dir == "" {
		return nil
	}
	entries, err := os.ReadDir(f.dir)
	for _, entry := range entries {
		if entry.Type().IsRegular() && ours.MatchString(entry.Name()) {
			if gone := os.Remove(filepath.Join(f.dir, entry.Name())); !errors.Is(gone, os.ErrNotExist) {
				err = errors.Join(err, gone)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}

// checkWritable finds out whether files can be made in a folder.
func checkWritable(dir string) error {
	probe, err := os.CreateTemp(dir, ".ds-sandbox-*")
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return fmt.Errorf("no file can be made in %s: %w", dir, err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// save saves the forms of a result and returns the files' paths.
func (f *resultFolder) save(r *sandbox.Result) ([]string, error) {
	if f.dir == "" || r.IsPage {
		return nil, nil
	}
	forms := formsOf(r)
	if len(forms) == 0 {
		return nil, nil
	}
	saved := f.shown[r.DisplayID]
	if saved.number == 0 {
		f.count++
		saved.number = f.count
	}
	for _, old := range saved.files {
		if err := os.Remove(old); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("--out: %w", err)
		}
	}
	saved.files = nil
	for _, form := range forms {
		path := filepath.Join(f.dir, fmt.Sprintf("%s-%d%s", form.kind, saved.number, form.ext))
		if err := os.WriteFile(path, form.data, 0o644); err != nil {
			return nil, fmt.Errorf("--out: %w", err)
		}
		saved.files = append(saved.files, path)
	}
	if r.DisplayID != "" && len(f.shown) < maxDisplays {
		if f.shown == nil {
			f.shown = make(map[string]savedResult)
		}
		f.shown[r.DisplayID] = saved
	}
	return saved.files, nil
}

// formsOf are the files of a result; text is one when there is nothing else.
func formsOf(r *sandbox.Result) []form {
	var forms []form
	for _, f := range []struct{ encoded, ext string }{{r.PNG, ".png"}, {r.JPEG, ".jpg"}, {r.PDF, ".pdf"}} {
		if data, err := base64.StdEncoding.DecodeString(f.encoded); err == nil && len(data) > 0 {
			forms = append(forms, form{"result", f.ext, data})
		}
	}
	for _, f := range []struct{ text, ext string }{
		{r.SVG, ".svg"}, {document(r.Page()), ".html"}, {r.Markdown, ".md"}, {r.LaTeX, ".tex"}, {string(r.JSON), ".json"},
	} {
		if f.text != "" {
			forms = append(forms, form{"result", f.ext, []byte(f.text)})
		}
	}
	for _, f := range []struct{ mime, ext string }{
		{"image/gif", ".gif"}, {"image/webp", ".webp"}, {"image/bmp", ".bmp"}, {"image/tiff", ".tiff"},
	} {
		text, _ := r.Bundle.Text(f.mime)
		if data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), "")); err == nil && len(data) > 0 {
			forms = append(forms, form{"result", f.ext, data})
		}
	}
	if len(r.Chart) > 0 {
		forms = append(forms, form{"chart", ".json", indented(r.Chart)})
	}
	if table, ok := r.Table(); ok {
		var csv bytes.Buffer
		_ = table.WriteCSV(&csv) // a Buffer takes everything
		forms = append(forms, form{"table", ".csv", csv.Bytes()})
	}
	if len(forms) == 0 && r.Text != "" {
		forms = append(forms, form{"result", ".txt", []byte(r.Text + "\n")})
	}
	return forms
}

// document is HTML as a file that browsers read as it is meant.
func document(html string) string {
	head := strings.ToLower(strings.TrimSpace(html[:min(len(html), 1024)]))
	if html == "" || strings.HasPrefix(head, "<!doctype") || strings.HasPrefix(head, "<html") {
		return html
	}
	return "<!doctype html><meta charset=\"utf-8\">\n" + html
}

func indented(raw json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return raw
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// report writes report.html of all that was run in a context.
func (f *resultFolder) report(c *sandbox.Context, title string, at time.Time) error {
	if f.dir == "" {
		return nil
	}
	nb, err := notebook.FromContext(c)
	if err != nil {
		return err
	}
	if err := writeReport(filepath.Join(f.dir, "report.html"), nb, &report.Options{Title: title, Time: at}); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}

// writeReport writes a page so that the file is always a whole one.
func writeReport(path string, nb *notebook.Notebook, opts *report.Options) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), ".report-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	if err := errors.Join(report.Write(file, nb, opts), file.Chmod(0o644), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
