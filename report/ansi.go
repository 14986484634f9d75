package report

import (
	"fmt"
	"html"
	"strconv"
	"strings"
)

// ansiHTML is text of a terminal as HTML: colours and styles become classes c0 to c15 and g0 to g15 (backgrounds), f and b with
// a colour of their own, bold, dim, italic, underline, strike; other escape sequences go away. A carriage return begins its
// line anew, as progress bars do.
func ansiHTML(text string) string {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	var b strings.Builder
	b.Grow(len(text) + len(text)/8)
	var s style
	for line := range strings.Lines(text) {
		body, hasEnd := strings.CutSuffix(line, "\n")
		body = strings.TrimRight(body, "\r")
		if i := strings.LastIndexByte(body, '\r'); i >= 0 {
			for rest := body[:i]; rest != ""; { // colours stay, text does not
				_, rest = s.next(rest)
			}
			body = body[i+1:]
		}
		for body != "" {
			var chunk string
			chunk, body = s.next(body)
			s.write(&b, chunk)
		}
		if hasEnd {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// style is how a terminal writes just now.
type style struct {
	fg, bg                                        colour
	bold, dim, italic, underline, strike, inverse bool
}

// colour is none (""), a class number ("1"), or a CSS colour ("#ff0000").
type colour string

// next splits text after its first chunk of plain characters, and takes the escape sequence that is before it.
func (s *style) next(text string) (chunk, rest string) {
	if text[0] != '\x1b' {
		i := strings.IndexByte(text, '\x1b')
		if i < 0 {
			i = len(text)
		}
		return text[:i], text[i:]
	}
	if len(text) < 2 {
		return "", ""
	}
	switch text[1] {
	case '[': // CSI: parameters, then a final byte
		i := 2
		for i < len(text) && text[i] >= 0x20 && text[i] < 0x40 {
			i++
		}
		switch {
		case i == len(text):
			return "", ""
		case text[i] < 0x20 || text[i] > 0x7e: // it was broken off
			return "", text[i:]
		case text[i] == 'm':
			s.apply(text[2:i])
		}
		return "", text[i+1:]
	case ']', 'P', '_', '^', 'X': // strings, ended by BEL or ST
		for i := 2; i < len(text); i++ {
			if text[i] == '\a' {
				return "", text[i+1:]
			}
			if text[i] == '\x1b' && i+1 < len(text) && text[i+1] == '\\' {
				return "", text[i+2:]
			}
		}
		return "", ""
	}
	return "", text[2:]
}

// apply takes the parameters of a "select graphic rendition".
func (s *style) apply(parameters string) {
	fields := strings.FieldsFunc(parameters+";", func(r rune) bool { return r == ';' || r == ':' })
	if len(fields) == 0 {
		fields = []string{"0"}
	}
	for i := 0; i < len(fields); i++ {
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			continue
		}
		switch {
		case n == 0:
			*s = style{}
		case n == 1:
			s.bold = true
		case n == 2:
			s.dim = true
		case n == 3:
			s.italic = true
		case n == 4:
			s.underline = true
		case n == 7:
			s.inverse = true
		case n == 9:
			s.strike = true
		case n == 22:
			s.bold, s.dim = false, false
		case n == 23:
			s.italic = false
		case n == 24:
			s.underline = false
		case n == 27:
			s.inverse = false
		case n == 29:
			s.strike = false
		case n >= 30 && n <= 37:
			s.fg = colour(strconv.Itoa(n - 30))
		case n >= 90 && n <= 97:
			s.fg = colour(strconv.Itoa(n - 90 + 8))
		case n >= 40 && n <= 47:
			s.bg = colour(strconv.Itoa(n - 40))
		case n >= 100 && n <= 107:
			s.bg = colour(strconv.Itoa(n - 100 + 8))
		case n == 39:
			s.fg = ""
		case n == 49:
			s.bg = ""
		case n == 38 || n == 48:
			c, used := extended(fields[i+1:])
			i += used
			if n == 38 {
				s.fg = c
			} else {
				s.bg = c
			}
		}
	}
}

// extended reads "5;N" or "2;R;G;B" and says how many fields that were.
func extended(fields []string) (c colour, used int) {
	number := func(i int) int {
		if i >= len(fields) {
			return 0
		}
		n, _ := strconv.Atoi(fields[i])
		return max(0, min(255, n))
	}
	if len(fields) == 0 {
		return "", 0
	}
	switch fields[0] {
	case "5":
		n := number(1)
		switch {
		case n < 16:
			return colour(strconv.Itoa(n)), 2
		case n >= 232:
			grey := 8 + 10*(n-232)
			return rgb(grey, grey, grey), 2
		}
		n -= 16
		level := func(v int) int {
			if v == 0 {
				return 0
			}
			return 55 + 40*v
		}
		return rgb(level(n/36), level(n/6%6), level(n%6)), 2
	case "2":
		return rgb(number(1), number(2), number(3)), 4
	}
	return "", 1
}

func rgb(r, g, b int) colour { return colour(fmt.Sprintf("#%02x%02x%02x", r, g, b)) }

// write writes a chunk in this style.
func (s *style) write(b *strings.Builder, chunk string) {
	if chunk == "" {
		return
	}
	chunk = html.EscapeString(printable(chunk))
	if *s == (style{}) {
		b.WriteString(chunk)
		return
	}
	var classes, css []string
	fg, bg := s.fg, s.bg
	if s.inverse {
		fg, bg = bg, fg
		if fg == "" && bg == "" {
			classes = append(classes, "inverse")
		}
	}
	for _, part := range []struct {
		c            colour
		class, exact string
	}{{fg, "c", "f"}, {bg, "g", "b"}} {
		switch {
		case part.c == "":
		case part.c[0] == '#': // the page mixes it with its own, so that it can be read on light and dark
			classes = append(classes, part.exact)
			css = append(css, "--"+part.exact+":"+string(part.c))
		default:
			classes = append(classes, part.class+string(part.c))
		}
	}
	for _, flag := range []struct {
		on    bool
		class string
	}{{s.bold, "bold"}, {s.dim, "dim"}, {s.italic, "italic"}, {s.underline, "underline"}, {s.strike, "strike"}} {
		if flag.on {
			classes = append(classes, flag.class)
		}
	}
	b.WriteString("<span")
	if len(classes) > 0 {
		b.WriteString(` class="` + strings.Join(classes, " ") + `"`)
	}
	if len(css) > 0 {
		b.WriteString(` style="` + strings.Join(css, ";") + `"`)
	}
	b.WriteString(">" + chunk + "</span>")
}

// printable drops control characters, which a page can't show, and mends broken UTF-8.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}
