package notebook

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// The JSON of notebooks is Python's: it has NaN and Infinity, and digits that must come out as they went in. encoding/json
// reads neither, and reads a file of 200 MB several times over. This parser reads it once, and strings are pieces of the file.

// maxDepth bounds how deep JSON may nest; Python stops about there too.
const maxDepth = 1000

// parser reads one JSON text.
type parser struct {
	text  string
	at    int
	depth int
}

// parseJSON reads a JSON text. Errors are *FormatError with line and column.
func parseJSON(text string) (any, error) {
	p := &parser{text: text}
	v, err := p.value()
	if err == nil {
		if p.space(); p.at < len(p.text) {
			err = errors.New("text after the end")
		}
	}
	if err != nil {
		return nil, &FormatError{Where: p.position(), Err: err}
	}
	return v, nil
}

// position is where the parser stands, for a person.
func (p *parser) position() string {
	before := p.text[:min(p.at, len(p.text))]
	line := strings.Count(before, "\n") + 1
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	return fmt.Sprintf("line %d, column %d", line, column)
}

func (p *parser) space() {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

var errEnd = errors.New("the file ends in the middle of a value")

func (p *parser) value() (any, error) {
	p.space()
	if p.at == len(p.text) {
		return nil, errEnd
	}
	switch c := p.text[p.at]; {
	case c == '"':
		return p.str()
	case c == '{' || c == '[':
		if p.depth++; p.depth > maxDepth {
			return nil, fmt.Errorf("nested deeper than %d", maxDepth)
		}
		defer func() { p.depth-- }()
		if c == '{' {
			return p.object()
		}
		return p.array()
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	for word, v := range words {
		if strings.HasPrefix(p.text[p.at:], word) {
			p.at += len(word)
			return v, nil
		}
	}
	return nil, p.unexpected("a value")
}

// words are the values that are words.
var words = map[string]any{
	"null": nil, "true": true, "false": false, "NaN": json.Number("NaN"), "Infinity": json.Number("Infinity"),
}

func (p *parser) unexpected(wanted string) error {
	if p.at >= len(p.text) {
		return errEnd
	}
	r, _ := utf8.DecodeRuneInString(p.text[p.at:])
	return fmt.Errorf("%q instead of %s", r, wanted)
}

// next takes the one byte of a set that comes after space.
func (p *parser) next(set string) (byte, error) {
	p.space()
	if p.at < len(p.text) && strings.IndexByte(set, p.text[p.at]) >= 0 {
		p.at++
		return p.text[p.at-1], nil
	}
	return 0, p.unexpected(strconv.Quote(set[:1]))
}

func (p *parser) object() (any, error) {
	p.at++
	out := make(map[string]any)
	if p.space(); p.at < len(p.text) && p.text[p.at] == '}' {
		p.at++
		return out, nil
	}
	for {
		if p.space(); p.at >= len(p.text) || p.text[p.at] != '"' {
			return nil, p.unexpected("a name in quotes")
		}
		key, err := p.str()
		if err != nil {
			return nil, err
		}
		if _, err := p.next(":"); err != nil {
			return nil, err
		}
		if out[key], err = p.value(); err != nil {
			return nil, err
		}
		c, err := p.next(",}")
		if err != nil || c == '}' {
			return out, err
		}
	}
}

func (p *parser) array() (any, error) {
	p.at++
	out := []any{}
	if p.space(); p.at < len(p.text) && p.text[p.at] == ']' {
		p.at++
		return out, nil
	}
	for {
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		c, err := p.next(",]")
		if err != nil || c == ']' {
			return out, err
		}
	}
}

// number reads a number by JSON's grammar, or -Infinity.
func (p *parser) number() (any, error) {
	start := p.at
	digits := func() bool {
		from := p.at
		for p.at < len(p.text) && p.text[p.at] >= '0' && p.text[p.at] <= '9' {
			p.at++
		}
		return p.at > from
	}
	is := func(set string) bool {
		if p.at < len(p.text) && strings.IndexByte(set, p.text[p.at]) >= 0 {
			p.at++
			return true
		}
		return false
	}
	if is("-") && strings.HasPrefix(p.text[p.at:], "Infinity") {
		p.at += len("Infinity")
		return json.Number("-Infinity"), nil
	}
	ok := is("0") || digits()
	if ok && is(".") {
		ok = digits()
	}
	if ok && is("eE") {
		is("+-")
		ok = digits()
	}
	if !ok {
		return nil, p.unexpected("a digit")
	}
	return json.Number(p.text[start:p.at]), nil
}

// str reads a string. One without escapes is a piece of the text, not a copy.
func (p *parser) str() (string, error) {
	p.at++
	start := p.at
	for ; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			return p.text[start : p.at-1], nil
		case c == '\\':
			return p.escaped(start)
		case c < ' ':
			return "", errControl
		}
	}
	return "", errEnd
}

var errControl = errors.New("a string holds a control character, or has no end")

// escaped reads the rest of a string in which an escape was found.
func (p *parser) escaped(start int) (string, error) {
	out := make([]byte, 0, p.at-start+64)
	for from := start; p.at < len(p.text); {
		switch c := p.text[p.at]; {
		case c == '"':
			out = append(out, p.text[from:p.at]...)
			p.at++
			return string(out), nil
		case c == '\\':
			out = append(out, p.text[from:p.at]...)
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
			from = p.at
		case c < ' ':
			return "", errControl
		default:
			p.at++
		}
	}
	return "", errEnd
}

// escape reads one escape. Half of a surrogate pair becomes U+FFFD: no UTF-8 file can hold it.
func (p *parser) escape() (rune, error) {
	if p.at+1 >= len(p.text) {
		return 0, errEnd
	}
	c := p.text[p.at+1]
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
		p.at += 2
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	r, ok := p.unicode()
	if !ok {
		return 0, fmt.Errorf(`\%c is no escape of JSON`, c)
	}
	if !utf16.IsSurrogate(r) {
		return r, nil
	}
	mark := p.at
	if low, ok := p.unicode(); ok {
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, nil
		}
	}
	p.at = mark
	return utf8.RuneError, nil
}

// unicode reads \uXXXX if that comes next.
func (p *parser) unicode() (rune, bool) {
	if p.at+6 > len(p.text) || p.text[p.at:p.at+2] != `\u` {
		return 0, false
	}
	n, err := strconv.ParseUint(p.text[p.at+2:p.at+6], 16, 16)
	if err != nil {
		return 0, false
	}
	p.at += 6
	return rune(n), true
}
