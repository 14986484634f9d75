package notebook

import (
	"strings"
	"unicode/utf8"
)

// splitLines splits text after each line's end, as Python's str.splitlines(True) does: files hold text that way.
func splitLines(text string) []string {
	lines := []string{}
	start := 0
	for i := 0; i < len(text); {
		size := lineEnd(text[i:])
		if size == 0 {
			i++
			continue
		}
		i += size
		lines = append(lines, text[start:i])
		start = i
	}
	if start < len(text) {
		lines = append(lines, text[start:])
	}
	return lines
}

// lineEnd is the length of the line's end that text begins with; 0 when it does not.
func lineEnd(text string) int {
	switch c := text[0]; {
	case c == '\r' && len(text) > 1 && text[1] == '\n':
		return 2
	case c >= '\n' && c <= '\r', c >= 0x1c && c <= 0x1e: // \n \v \f \r, and three separators
		return 1
	case c == 0xc2 || c == 0xe2:
		if r, size := utf8.DecodeRuneInString(text); r == '\u0085' || r == '\u2028' || r == '\u2029' {
			return size
		}
	}
	return 0
}

// joined is a text that may be a list of lines; ok is false for all else.
func joined(v any) (text string, ok bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case []any:
		var b strings.Builder
		size := 0
		for _, item := range v {
			line, _ := item.(string)
			size += len(line)
		}
		b.Grow(size)
		for _, item := range v {
			line, ok := item.(string)
			if !ok {
				return "", false
			}
			b.WriteString(line)
		}
		return b.String(), true
	}
	return "", false
}

// isJSONType reports whether a form of a bundle is JSON rather than text.
func isJSONType(mime string) bool {
	return mime == "application/json" || strings.HasPrefix(mime, "application/") && strings.HasSuffix(mime, "+json")
}

// joinBundle joins the texts of a bundle, in place.
func joinBundle(bundle map[string]any) {
	for mime, v := range bundle {
		if list, isList := v.([]any); isList && !isJSONType(mime) {
			if text, ok := joined(list); ok {
				bundle[mime] = text
			}
		}
	}
}

// splitBundle is a bundle as files hold it.
func splitBundle(bundle map[string]any) map[string]any {
	out := make(map[string]any, len(bundle))
	for mime, v := range bundle {
		text, isText := v.(string)
		if isText && (strings.HasPrefix(mime, "text/") || mime == "application/javascript" || mime == "image/svg+xml") {
			out[mime] = splitLines(text)
		} else {
			out[mime] = v
		}
	}
	return out
}
