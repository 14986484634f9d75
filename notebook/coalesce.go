package notebook

import "strings"

// coalesce makes one output of each stream, at the place of its first, and applies what moves a terminal's cursor. Standard
// output comes before standard error when they are neighbours: their order is chance.
func coalesce(outputs []*Output) []*Output {
	streams := make(map[string]*strings.Builder)
	first := make(map[string]*Output)
	var out []*Output
	for _, o := range outputs {
		if o.Type != Stream {
			out = append(out, o)
			continue
		}
		if streams[o.Name] == nil {
			streams[o.Name], first[o.Name] = new(strings.Builder), o
			out = append(out, o)
		}
		streams[o.Name].WriteString(o.Text)
	}
	for name, o := range first {
		o.Text = overwrite(streams[name].String())
	}
	for i := 0; i+1 < len(out); i++ {
		if out[i].isStream("stderr") && out[i+1].isStream("stdout") {
			out[i], out[i+1] = out[i+1], out[i]
		}
	}
	return out
}

func (o *Output) isStream(name string) bool { return o.Type == Stream && o.Name == name }

// overwrite applies backspaces and carriage returns: of each line it keeps what a terminal would show at the end. A return
// before the line's end is part of that end.
func overwrite(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	for line := range strings.Lines(text) {
		body, ending := line, ""
		if strings.HasSuffix(line, "\n") {
			body, ending = line[:len(line)-1], "\n"
		}
		if i := strings.LastIndexByte(strings.TrimSuffix(body, "\r"), '\r'); i >= 0 {
			body = body[i+1:]
		}
		if strings.IndexByte(body, '\b') >= 0 {
			body = backspaced(body)
		}
		b.WriteString(body + ending)
	}
	return b.String()
}

func backspaced(line string) string {
	var kept []rune
	for _, r := range line {
		if r == '\b' && len(kept) > 0 && kept[len(kept)-1] != '\b' {
			kept = kept[:len(kept)-1]
		} else {
			kept = append(kept, r)
		}
	}
	return string(kept)
}
