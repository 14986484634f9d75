package interpreter

import (
	"bufio"
	"encoding/json"
	"unicode/utf8"
)

// object writes a JSON object on one line of ASCII: clients decode pieces of the stream each for itself, which tears other
// characters apart, and some end lines at characters that are none of a line's ends. It writes as it goes, so that a
// large member is not held a second time. Errors stay with the writer.
type object struct {
	out  *bufio.Writer
	some bool
}

func (o *object) name(name string) {
	separator := byte(',')
	if !o.some {
		separator, o.some = '{', true
	}
	_ = o.out.WriteByte(separator)
	writeString(o.out, name)
	_ = o.out.WriteByte(':')
}

func (o *object) text(name, text string) {
	o.name(name)
	writeString(o.out, text)
}

// raw writes what is JSON of ASCII already.
func (o *object) raw(name, value string) {
	o.name(name)
	_, _ = o.out.WriteString(value)
}

// value writes valid JSON; nothing for null or none.
func (o *object) value(name string, value json.RawMessage) {
	if len(value) == 0 || string(value) == "null" {
		return
	}
	o.name(name)
	writeValue(o.out, value)
}

func (o *object) object(name string, members func(*object)) {
	o.name(name)
	inner := object{out: o.out}
	members(&inner)
	inner.end()
}

func (o *object) end() {
	if !o.some {
		_ = o.out.WriteByte('{')
	}
	_ = o.out.WriteByte('}')
}

const hex = "0123456789abcdef"

// writeString writes a text as a JSON string. What is no UTF-8 becomes the replacement character.
func writeString(out *bufio.Writer, s string) {
	_ = out.WriteByte('"')
	begin := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		_, _ = out.WriteString(s[begin:i])
		size := 1
		switch {
		case c == '"' || c == '\\':
			_ = out.WriteByte('\\')
			_ = out.WriteByte(c)
		case c == '\n':
			_, _ = out.WriteString(`\n`)
		case c < ' ':
			writeUnit(out, uint16(c))
		default:
			var r rune
			r, size = utf8.DecodeRuneInString(s[i:])
			writeRune(out, r)
		}
		i += size
		begin = i
	}
	_, _ = out.WriteString(s[begin:])
	_ = out.WriteByte('"')
}

// writeValue writes valid JSON. Outside its strings there is nothing but ASCII, and inside them no control characters.
func writeValue(out *bufio.Writer, value []byte) {
	begin := 0
	for i := 0; i < len(value); {
		c := value[i]
		if c >= ' ' && c < utf8.RuneSelf {
			i++
			continue
		}
		_, _ = out.Write(value[begin:i])
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			r, size = utf8.DecodeRune(value[i:])
			writeRune(out, r)
		}
		i += size
		begin = i
	}
	_, _ = out.Write(value[begin:])
}

func writeRune(out *bufio.Writer, r rune) {
	if r < 0x10000 {
		writeUnit(out, uint16(r))
		return
	}
	r -= 0x10000
	writeUnit(out, uint16(0xd800+r>>10))
	writeUnit(out, uint16(0xdc00+r&0x3ff))
}

// writeUnit writes one unit of UTF-16.
func writeUnit(out *bufio.Writer, u uint16) {
	_, _ = out.Write(append(out.AvailableBuffer(), '\\', 'u', hex[u>>12], hex[u>>8&15], hex[u>>4&15], hex[u&15]))
}
