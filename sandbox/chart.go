package sandbox

import "encoding/json"

// Chart is what a figure shows, as data: a [LineChart], [ScatterChart], [BarChart], [PieChart], [BoxChart], [SuperChart] or
// [UnknownChart]. It marshals to E2B's chart object.
type Chart interface {
	// Kind is the type as E2B names it: "line", "scatter", "bar", "pie", "box_and_whisker", "superchart", "unknown".
	Kind() string
	// Heading is the title, "" if there is none.
	Heading() string
	// Digest tells in a line or a few what the chart shows, for a terminal or a language model. At most 2 KiB.
	Digest() string

	json.Marshaler
}

// Label is a text that may be missing: "" is null in JSON.
type Label string

// MarshalJSON writes null for no text.
func (l Label) MarshalJSON() ([]byte, error) {
	if l == "" {
		return []byte("null"), nil
	}
	return json.Marshal(string(l))
}

// UnmarshalJSON reads anything but a text as none.
func (l *Label) UnmarshalJSON(data []byte) error {
	var s string
	_ = json.Unmarshal(data, &s) // what is no text leaves it empty
	*l = Label(s)
	return nil
}

// Labels name the axes of a chart, and the units that the names have in brackets: "Time (s)" is in "s".
type Labels struct {
	XLabel Label `json:"x_label"`
	YLabel Label `json:"y_label"`
	XUnit  Label `json:"x_unit"`
	YUnit  Label `json:"y_unit"`
}

// Axes are the axes of a chart. A scale is "linear", "datetime", "categorical", "log", "symlog", "logit", "function",
// "functionlog" or "asinh". Figures that JavaScript draws have ticks only if the code set them.
type Axes struct {
	Labels
	XTicks      []Value  `json:"x_ticks"`
	XTickLabels []string `json:"x_tick_labels"`
	XScale      string   `json:"x_scale"`
	YTicks      []Value  `json:"y_ticks"`
	YTickLabels []string `json:"y_tick_labels"`
	YScale      string   `json:"y_scale"`
}

// Point is x and y.
type Point [2]Value

// Series is a line or a group of points.
type Series struct {
	Label  string  `json:"label"`
	Points []Point `json:"points"`
	// PointCount is the true number of points of a series that was thinned, otherwise 0.
	PointCount int `json:"point_count,omitempty"`
}

// Count is the true number of points.
func (s *Series) Count() int { return max(s.PointCount, len(s.Points)) }

// LineChart has one series for each line.
type LineChart struct {
	Title Label `json:"title"`
	Axes
	Elements []Series `json:"elements"`
	// ElementCount is the true number of elements where some were left out, otherwise 0. So with all kinds.
	ElementCount int `json:"element_count,omitempty"`
}

// ScatterChart has one series for each group of points.
type ScatterChart struct {
	Title Label `json:"title"`
	Axes
	Elements     []Series `json:"elements"`
	ElementCount int      `json:"element_count,omitempty"`
}

// Bar is one bar. Bars of one colour have the same group.
type Bar struct {
	Label string `json:"label"`
	Group string `json:"group"`
	Value Value  `json:"value"`
}

// BarChart has all bars, those of the first group first. Its x is always what the bars stand for and its y their length,
// also where they lie.
type BarChart struct {
	Title Label `json:"title"`
	Labels
	Elements     []Bar `json:"elements"`
	ElementCount int   `json:"element_count,omitempty"`
}

// Slice is a part of a pie: its angle in degrees.
type Slice struct {
	Label  string `json:"label"`
	Angle  Value  `json:"angle"`
	Radius Value  `json:"radius"`
}

// PieChart has all slices.
type PieChart struct {
	Title        Label   `json:"title"`
	Elements     []Slice `json:"elements"`
	ElementCount int     `json:"element_count,omitempty"`
}

// Box is a box with its whiskers: Min and Max are their ends, Outliers what lies beyond.
type Box struct {
	Label         string  `json:"label"`
	Min           Value   `json:"min"`
	FirstQuartile Value   `json:"first_quartile"`
	Median        Value   `json:"median"`
	ThirdQuartile Value   `json:"third_quartile"`
	Max           Value   `json:"max"`
	Outliers      []Value `json:"outliers"`
}

// BoxChart has all boxes.
type BoxChart struct {
	Title Label `json:"title"`
	Axes
	Elements     []Box `json:"elements"`
	ElementCount int   `json:"element_count,omitempty"`
}

// SuperChart is a figure of several charts.
type SuperChart struct {
	Title        Label   `json:"title"`
	Elements     []Chart `json:"elements"`
	ElementCount int     `json:"element_count,omitempty"`
}

// UnknownChart is a figure of another kind: a picture, a map, a surface.
type UnknownChart struct {
	Title Label `json:"title"`
}

// The kinds, as E2B names them.

func (*LineChart) Kind() string    { return "line" }
func (*ScatterChart) Kind() string { return "scatter" }
func (*BarChart) Kind() string     { return "bar" }
func (*PieChart) Kind() string     { return "pie" }
func (*BoxChart) Kind() string     { return "box_and_whisker" }
func (*SuperChart) Kind() string   { return "superchart" }
func (*UnknownChart) Kind() string { return "unknown" }

// The titles.

func (c *LineChart) Heading() string    { return string(c.Title) }
func (c *ScatterChart) Heading() string { return string(c.Title) }
func (c *BarChart) Heading() string     { return string(c.Title) }
func (c *PieChart) Heading() string     { return string(c.Title) }
func (c *BoxChart) Heading() string     { return string(c.Title) }
func (c *SuperChart) Heading() string   { return string(c.Title) }
func (c *UnknownChart) Heading() string { return string(c.Title) }
