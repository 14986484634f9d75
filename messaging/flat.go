package messaging

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Headers, stream texts and statuses are flat objects of strings, and nearly all messages consist of them. Reading these
// without reflection and in one pass is several times as fast as encoding/json, to which everything unusual is left.

// flat reads a JSON object whose values are strings, null, numbers or booleans, and calls set with each of its
// members: isString tells a string, already unescaped, from other values' literal text. It reports
// false at anything else, and then the caller reads anew with encoding/json.
func flat(b []byte, set func(key []byte, value []byte, isString bool)) bool {
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != '{' {
		return false
	}
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return skipSpace(b, i+1) == len(b)
	}
	for {
		if i >= len(b) || b[i] != '"' {
			return false
		}
		end := bytes.IndexByte(b[i+1:], '"')
		if end < 0 {
			return false
		}
		key := b[i+1 : i+1+end]
		if bytes.IndexByte(key, '\\') >= 0 {
			return false
		}
		i = skipSpace(b, i+end+2)
		if i >= len(b) || b[i] != ':' {
			return false
		}
		i = skipSpace(b, i+1)
		if i >= len(b) {
			return false
		}
		if b[i] == '"' {
			value, next, ok := unquote(b, i+1)
			if !ok {
				return false
			}
			set(key, value, true)
			i = next
		} else {
			next := i
			for next < len(b) && isLiteral(b[next]) {
				next++
			}
			if next == i {
				return false
			}
			set(key, b[i:next], false)
			i = next
		}
		i = skipSpace(b, i)
		if i >= len(b) {
			return false
		}
		switch b[i] {
		case '}':
			return skipSpace(b, i+1) == len(b)
		case ',':
			i = skipSpace(b, i+1)
		default:
			return false
		}
	}
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// isLiteral reports whether c may be part of a number, true, false or null.
func isLiteral(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c == '-' || c == '+' || c == '.' || c == 'E'
}

// unquote reads a string whose opening quote stands before b[from]. It returns the text, which may be a part of b, and
// where the rest begins.
func unquote(b []byte, from int) (text []byte, next int, ok bool) {
	var out []byte // once an escape was met
	quote := -1    // the next one at or after i
	for i := from; ; {
		if quote < i {
			n := bytes.IndexByte(b[i:], '"')
			if n < 0 {
				return nil, 0, false
			}
			quote = i + n
		}
		escape := bytes.IndexByte(b[i:quote], '\\')
		if escape < 0 {
			if out == nil {
				return validText(b[from:quote]), quote + 1, true
			}
			return validText(append(out, b[i:quote]...)), quote + 1, true
		}
		if out == nil {
			out = make([]byte, 0, quote-from+64)
		}
		out = append(out, b[i:i+escape]...)
		i += escape + 1
		if i >= len(b) {
			return nil, 0, false
		}
		if b[i] == 'u' {
			r, n := unquoteRune(b[i+1:])
			if n == 0 {
				return nil, 0, false
			}
			out = utf8.AppendRune(out, r)
			i += 1 + n
			continue
		}
		c := escapes[b[i]]
		if c == 0 {
			return nil, 0, false
		}
		out = append(out, c)
		i++
	}
}

// escapes maps the letter after a backslash to what it means.
var escapes = [256]byte{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

// unquoteRune reads what follows \u, two of them for a surrogate pair; n is 0 when it is no number. A lone surrogate
// becomes U+FFFD.
func unquoteRune(b []byte) (r rune, n int) {
	first, ok := hex4(b)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(first) {
		return first, 4
	}
	if len(b) >= 10 && b[4] == '\\' && b[5] == 'u' {
		if second, ok := hex4(b[6:]); ok {
			if pair := utf16.DecodeRune(first, second); pair != utf8.RuneError {
				return pair, 10
			}
		}
	}
	return utf8.RuneError, 4
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[:4]), 16, 16)
	return rune(n), err == nil
}

// validText replaces each byte of invalid UTF-8 by U+FFFD, as encoding/json does.
func validText(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	out := make([]byte, 0, len(b)+16)
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		out = utf8.AppendRune(out, r)
		b = b[size:]
	}
	return out
}

// field is the text of a flat value: a string's text, nothing for null, the literal else.
func field(value []byte, isString bool) string {
	if !isString && string(value) == "null" {
		return ""
	}
	return string(value)
}

// decodeFlat reads the contents that make up most of the traffic; it reports false when encoding/json is wanted.
func decodeFlat(b []byte, body Content) bool {
	switch c := body.(type) {
	case *Stream:
		odd := false
		ok := flat(b, func(key, value []byte, isString bool) {
			switch string(key) {
			case "name":
				c.Name = field(value, isString)
			case "text":
				c.Text = field(value, isString)
			}
			odd = odd || !isString
		})
		return ok && !odd
	case *Status:
		odd := false
		ok := flat(b, func(key, value []byte, isString bool) {
			if string(key) == "execution_state" {
				c.ExecutionState = ExecutionState(field(value, isString))
			}
			odd = odd || !isString
		})
		return ok && !odd
	}
	return false
}
