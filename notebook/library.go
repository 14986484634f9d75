package notebook

import "github.com/ds-sandbox/ds-sandbox/sandbox"

// giveLibraries puts libraries of JavaScript before the first figures that need them. They come with the first figure of a
// session, which may be in no cell any more: it was cleared, updated, dropped from the journal, or shown before this notebook.
func giveLibraries(nb *Notebook, c *sandbox.Context) {
	there := make(map[string]bool)
	for _, cell := range nb.Cells {
		for _, o := range cell.Outputs {
			html, ok := o.Data["text/html"].(string)
			if !ok {
				continue
			}
			name, library := sandbox.FigureLibrary(html)
			if name == "" || there[name] {
				continue
			}
			if library == "" {
				if library = c.Library(name); library == "" {
					continue
				}
				o.Data["text/html"] = library + "\n" + html
			}
			there[name] = true
		}
	}
}
