package sandbox

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Bounds of a digest.
const (
	digestElements = 8
	digestLabel    = 60 // runes
	digestLimit    = 2048
)

// Digest tells the lines' ends.
func (c *LineChart) Digest() string {
	return seriesDigest("line chart", c.Title, c.Elements, c.ElementCount, c.Labels, func(s *Series) string {
		first, last, ok := ends(s.Points)
		if !ok {
			return "no values"
		}
		return brief(first) + " to " + brief(last)
	})
}

// Digest tells the groups' ranges.
func (c *ScatterChart) Digest() string {
	return seriesDigest("scatter chart", c.Title, c.Elements, c.ElementCount, c.Labels, func(s *Series) string {
		return "x " + span(s.Points, 0) + ", y " + span(s.Points, 1)
	})
}

// Digest tells the bars' values.
func (c *BarChart) Digest() string {
	groups := map[string]bool{}
	for _, e := range c.Elements {
		groups[e.Group] = true
	}
	return digest("bar chart", c.Title, c.Labels, number(len(c.Elements), c.ElementCount, "bar"), c.Elements, func(e Bar) string {
		if len(groups) > 1 {
			return short(e.Group) + " " + short(e.Label) + " " + brief(e.Value)
		}
		return short(e.Label) + " " + brief(e.Value)
	})
}

// Digest tells the slices' shares.
func (c *PieChart) Digest() string {
	return digest("pie chart", c.Title, Labels{}, number(len(c.Elements), c.ElementCount, "slice"), c.Elements, func(e Slice) string {
		angle, _ := e.Angle.Float()
		return short(e.Label) + " " + strconv.FormatFloat(angle/3.6, 'f', 1, 64) + "%"
	})
}

// Digest tells the medians and quartiles.
func (c *BoxChart) Digest() string {
	return digest("box chart", c.Title, c.Labels, number(len(c.Elements), c.ElementCount, "box"), c.Elements, func(e Box) string {
		text := fmt.Sprintf("%s median %s (quartiles %s and %s, whiskers %s and %s)", short(e.Label), brief(e.Median),
			brief(e.FirstQuartile), brief(e.ThirdQuartile), brief(e.Min), brief(e.Max))
		if n := len(e.Outliers); n > 0 {
			text += " " + number(n, 0, "outlier")
		}
		return text
	})
}

// Digest has one line for each chart.
func (c *SuperChart) Digest() string {
	var b strings.Builder
	b.WriteString(heading("figure", c.Title) + " with " + number(len(c.Elements), c.ElementCount, "chart"))
	for i, e := range c.Elements {
		line := "\n- " + e.Digest()
		if i == digestElements || b.Len()+len(line) > digestLimit-40 {
			fmt.Fprintf(&b, "\n- and %d more", len(c.Elements)-i)
			break
		}
		b.WriteString(line)
	}
	return b.String()
}

// Digest is the title.
func (c *UnknownChart) Digest() string { return heading("figure", c.Title) }

func seriesDigest(kind string, title Label, all []Series, count int, labels Labels, tell func(*Series) string) string {
	what := number(len(all), count, "series")
	same := len(all) > 0
	for i := range all {
		same = same && all[i].Count() == all[0].Count()
	}
	if same {
		what += " of " + number(all[0].Count(), 0, "point")
	}
	return digest(kind, title, labels, what, all, func(s Series) string {
		text := short(s.Label) + " " + tell(&s)
		if !same {
			text += " (" + number(s.Count(), 0, "point") + ")"
		}
		return text
	})
}

// digest is a heading, what there is, and the first elements.
func digest[T any](kind string, title Label, labels Labels, what string, all []T, tell func(T) string) string {
	text := heading(kind, title)
	if labels.XLabel != "" || labels.YLabel != "" {
		y, x := short(string(labels.YLabel)), short(string(labels.XLabel))
		switch {
		case x == "":
			text += " of " + y
		case y == "":
			text += " over " + x
		default:
			text += " of " + y + " over " + x
		}
	}
	text += " with " + what
	for i, e := range all {
		if i == 0 {
			text += ": "
		} else {
			text += ", "
		}
		next := tell(e)
		if i == digestElements || len(text)+len(next) > digestLimit-40 {
			return text + fmt.Sprintf("and %d more", len(all)-i)
		}
		text += next
	}
	return text
}

func heading(kind string, title Label) string {
	if title == "" {
		return kind
	}
	return kind + " '" + short(string(title)) + "'"
}

// number is a count with its noun; all is the true count where it is larger.
func number(n, all int, noun string) string {
	n = max(n, all)
	if n != 1 && noun != "series" {
		if strings.HasSuffix(noun, "x") {
			noun += "e"
		}
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
}

// short is a label in one line, cut, without what would command a terminal.
func short(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > digestLabel {
			b.WriteString("…")
			break
		}
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			r = ' '
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

func brief(v Value) string { return short(v.String()) }

// ends are the first and the last y that are there.
func ends(points []Point) (first, last Value, ok bool) {
	for _, p := range points {
		if p[1].IsNull() {
			continue
		}
		if !ok {
			first, ok = p[1], true
		}
		last = p[1]
	}
	return first, last, ok
}

// span is the range of a coordinate.
func span(points []Point, i int) string {
	var low, high Value
	for _, p := range points {
		f, ok := p[i].Float()
		if !ok {
			if p[i].IsNull() {
				continue
			}
			first, last := points[0][i], points[len(points)-1][i]
			return brief(first) + " to " + brief(last)
		}
		if l, ok := low.Float(); !ok || f < l {
			low = p[i]
		}
		if h, ok := high.Float(); !ok || f > h {
			high = p[i]
		}
	}
	if low.IsNull() {
		return "no values"
	}
	return brief(low) + " to " + brief(high)
}
