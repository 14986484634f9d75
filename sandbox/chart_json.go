package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrNoChart is returned by [DecodeChart] for what is no chart.
var ErrNoChart = errors.New("not a chart")

// Bounds of a decoded chart. The kernel's side takes less of a figure; hostile code may send anything.
const (
	maxChartBytes  = 16 << 20
	maxChartParts  = 500_000 // values, lists and objects of a figure
	maxChartNested = 3       // charts in charts
)

// Figure is the chart of a figure as typed values; ok is false when the result has none that can be read.
func (r *Result) Figure() (chart Chart, ok bool) {
	if r.Chart == nil {
		return nil, false
	}
	chart, err := DecodeChart(r.Chart)
	return chart, err == nil
}

// DecodeChart reads E2B's chart object. A type that is not known becomes an [UnknownChart], and a member that can't be
// read is empty: the error is [ErrNoChart], for what is no such object at all, is larger than 16 MiB or has more than
// 500,000 values.
func DecodeChart(data []byte) (Chart, error) {
	if len(data) > maxChartBytes {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrNoChart, len(data), maxChartBytes)
	}
	if err := countParts(data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoChart, err)
	}
	return decodeChart(data, 0)
}

// countParts refuses JSON whose values would take far more memory than its bytes.
func countParts(data []byte) error {
	parts, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case !inString && (c == '{' || c == '[' || c == ','):
			if parts++; parts > maxChartParts {
				return fmt.Errorf("more than %d values", maxChartParts)
			}
		}
	}
	return nil
}

func decodeChart(data []byte, depth int) (Chart, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoChart, err)
	}
	var kind string
	if json.Unmarshal(members["type"], &kind) != nil {
		return nil, fmt.Errorf("%w: it has no type", ErrNoChart)
	}
	switch kind {
	case "line":
		c := &LineChart{}
		c.Title, c.Axes = title(members), axes(members)
		c.Elements, c.ElementCount = elements[Series](members), count(members)
		return c, nil
	case "scatter":
		c := &ScatterChart{}
		c.Title, c.Axes = title(members), axes(members)
		c.Elements, c.ElementCount = elements[Series](members), count(members)
		return c, nil
	case "bar":
		return &BarChart{title(members), axes(members).Labels, elements[Bar](members), count(members)}, nil
	case "pie":
		return &PieChart{title(members), elements[Slice](members), count(members)}, nil
	case "box_and_whisker":
		return &BoxChart{title(members), axes(members), elements[Box](members), count(members)}, nil
	case "superchart":
		c := &SuperChart{Title: title(members), ElementCount: count(members), Elements: []Chart{}}
		if depth == maxChartNested {
			return c, nil
		}
		for _, raw := range elements[json.RawMessage](members) {
			if inner, err := decodeChart(raw, depth+1); err == nil {
				c.Elements = append(c.Elements, inner)
			}
		}
		return c, nil
	default:
		return &UnknownChart{title(members)}, nil
	}
}

func title(members map[string]json.RawMessage) Label { return member[Label](members, "title") }

func count(members map[string]json.RawMessage) int {
	return max(0, member[int](members, "element_count"))
}

func axes(members map[string]json.RawMessage) Axes {
	return Axes{
		Labels: Labels{
			XLabel: member[Label](members, "x_label"), YLabel: member[Label](members, "y_label"),
			XUnit: member[Label](members, "x_unit"), YUnit: member[Label](members, "y_unit"),
		},
		XTicks: items[Value](members, "x_ticks"), YTicks: items[Value](members, "y_ticks"),
		XTickLabels: items[string](members, "x_tick_labels"), YTickLabels: items[string](members, "y_tick_labels"),
		XScale: member[string](members, "x_scale"), YScale: member[string](members, "y_scale"),
	}
}

// member reads one member; the zero value for one that is missing or of another type.
func member[T any](members map[string]json.RawMessage, name string) T {
	var v T
	if raw, ok := members[name]; ok && json.Unmarshal(raw, &v) != nil {
		var zero T
		return zero
	}
	return v
}

func elements[T any](members map[string]json.RawMessage) []T { return items[T](members, "elements") }

// items reads a list, leaving out what is not of its type. It is never nil, so that it is a list in JSON again.
func items[T any](members map[string]json.RawMessage, name string) []T {
	if all := member[[]T](members, name); all != nil { // the usual case, in one go
		return all
	}
	out := []T{}
	for _, raw := range member[[]json.RawMessage](members, name) {
		var v T
		if json.Unmarshal(raw, &v) == nil {
			out = append(out, v)
		}
	}
	return out
}

// typed writes a chart with its type first.
func typed(kind string, members any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(members); err != nil {
		return nil, err
	}
	body := bytes.TrimSpace(b.Bytes())
	return append([]byte(`{"type":"`+kind+`",`), body[1:]...), nil
}

// MarshalJSON writes E2B's chart object.
func (c *LineChart) MarshalJSON() ([]byte, error) {
	type plain LineChart
	return typed(c.Kind(), (*plain)(c))
}

// MarshalJSON writes E2B's chart object.
func (c *ScatterChart) MarshalJSON() ([]byte, error) {
	type plain ScatterChart
	return typed(c.Kind(), (*plain)(c))
}

// MarshalJSON writes E2B's chart object.
func (c *BarChart) MarshalJSON() ([]byte, error) {
	type plain BarChart
	return typed(c.Kind(), (*plain)(c))
}

// MarshalJSON writes E2B's chart object.
func (c *PieChart) MarshalJSON() ([]byte, error) {
	type plain PieChart
	return typed(c.Kind(), (*plain)(c))
}

// MarshalJSON writes E2B's chart object.
func (c *BoxChart) MarshalJSON() ([]byte, error) {
	type plain BoxChart
	return typed(c.Kind(), (*plain)(c))
}

// MarshalJSON writes E2B's chart object.
func (c *SuperChart) MarshalJSON() ([]byte, error) {
	type plain SuperChart
	return typed(c.Kind(), (*plain)(c))
}

// MarshalJSON writes E2B's chart object.
func (c *UnknownChart) MarshalJSON() ([]byte, error) {
	return typed(c.Kind(), struct {
		Title    Label      `json:"title"`
		Elements []struct{} `json:"elements"`
	}{c.Title, []struct{}{}})
}
