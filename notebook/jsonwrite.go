package notebook

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
)

// appendJSON writes a value as Python's json.dumps(v, indent=1, sort_keys=True, ensure_ascii=False) does; level is how deep it stands.
func appendJSON(out []byte, v any, level int) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(out, "null"...), nil
	case bool:
		return strconv.AppendBool(out, v), nil
	case string:
		return appendString(out, v), nil
	case json.Number:
		return append(out, v...), nil
	case int:
		return strconv.AppendInt(out, int64(v), 10), nil
	case float64:
		return appendFloat(out, v), nil
	case *int:
		if v == nil {
			return append(out, "null"...), nil
		}
		return strconv.AppendInt(out, int64(*v), 10), nil
	case []string:
		return appendList(out, len(v), level, '[', ']', func(out []byte, i int) ([]byte, error) {
			return appendString(out, v[i]), nil
		})
	case []any:
		return appendList(out, len(v), level, '[', ']', func(out []byte, i int) ([]byte, error) {
			return appendJSON(out, v[i], level+1)
		})
	case map[string]any:
		keys := slices.Sorted(maps.Keys(v))
		return appendList(out, len(keys), level, '{', '}', func(out []byte, i int) ([]byte, error) {
			out = append(appendString(out, keys[i]), ": "...)
			return appendJSON(out, v[keys[i]], level+1)
		})
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%T: %w", v, err)
	}
	plain, err := parseJSON(string(raw))
	if err != nil {
		return nil, fmt.Errorf("%T: %w", v, err)
	}
	return appendJSON(out, plain, level)
}

// appendList writes the items of an array or object, each on a line of its own.
func appendList(out []byte, n, level int, open, end byte, item func([]byte, int) ([]byte, error)) ([]byte, error) {
	out = append(out, open)
	var err error
	for i := range n {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendBreak(out, level+1)
		if out, err = item(out, i); err != nil {
			return nil, err
		}
	}
	if n > 0 {
		out = appendBreak(out, level)
	}
	return append(out, end), nil
}

func appendBreak(out []byte, level int) []byte {
	out = append(out, '\n')
	for range level {
		out = append(out, ' ')
	}
	return out
}

// appendFloat writes a number as Python's repr does: a whole number keeps a ".0".
func appendFloat(out []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(out, "NaN"...)
	case math.IsInf(f, 1):
		return append(out, "Infinity"...)
	case math.IsInf(f, -1):
		return append(out, "-Infinity"...)
	case f != 0 && (math.Abs(f) >= 1e16 || math.Abs(f) < 1e-4):
		return strconv.AppendFloat(out, f, 'e', -1, 64)
	}
	start := len(out)
	out = strconv.AppendFloat(out, f, 'f', -1, 64)
	if !slices.Contains(out[start:], '.') {
		out = append(out, ".0"...)
	}
	return out
}

const hexDigits = "0123456789abcdef"

// appendString escapes what JSON demands and nothing else.
func appendString(out []byte, s string) []byte {
	out = append(out, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		out = append(out, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			out = append(out, '\\', c)
		case '\n':
			out = append(out, `\n`...)
		case '\r':
			out = append(out, `\r`...)
		case '\t':
			out = append(out, `\t`...)
		case '\b':
			out = append(out, `\b`...)
		case '\f':
			out = append(out, `\f`...)
		default:
			out = append(out, `\u00`...)
			out = append(out, hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(out, s[from:]...), '"')
}
