package sandbox

import (
	"encoding/json"
	"math"
	"strconv"
)

// Value is one value of a chart: a number, a text (a category, or a date in ISO form), or nothing (NaN, a gap), which is
// the zero Value.
type Value struct{ v any } // float64, string or nil

// Number makes a value of a number; nothing of NaN and the infinities.
func Number(f float64) Value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Value{}
	}
	return Value{f}
}

// Text makes a value of a text.
func Text(s string) Value { return Value{s} }

// Float is the number; ok is false for a text and for nothing.
func (v Value) Float() (f float64, ok bool) {
	f, ok = v.v.(float64)
	return f, ok
}

// IsNull reports whether it is nothing.
func (v Value) IsNull() bool { return v.v == nil }

// String is the text, or the number with up to 6 digits; "none" for nothing.
func (v Value) String() string {
	switch x := v.v.(type) {
	case float64:
		if x == math.Trunc(x) && math.Abs(x) < 1e15 {
			return strconv.FormatFloat(x, 'f', -1, 64)
		}
		return strconv.FormatFloat(x, 'g', 6, 64)
	case string:
		return x
	}
	return "none"
}

// MarshalJSON writes a number, a string or null.
func (v Value) MarshalJSON() ([]byte, error) { return json.Marshal(v.v) }

// UnmarshalJSON reads a number or a string; anything else is nothing.
func (v *Value) UnmarshalJSON(data []byte) error {
	*v = Value{}
	if len(data) == 0 {
		return nil
	}
	switch c := data[0]; {
	case c == '"':
		var s string
		if json.Unmarshal(data, &s) == nil {
			v.v = s
		}
	case c == '-' || '0' <= c && c <= '9':
		if f, err := strconv.ParseFloat(string(data), 64); err == nil {
			*v = Number(f)
		}
	case c == 't':
		v.v = 1.0
	case c == 'f':
		v.v = 0.0
	}
	return nil
}
