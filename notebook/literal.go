package notebook

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// syntax is how a language writes values.
type syntax struct {
	name          *regexp.Regexp // of a variable
	keywords      []string       // that look like names
	null, yes, no string
	nan, inf, neg string
	list, object  [2]string // what stands around the items
	pair          string    // between a key and its value
	escape        *strings.Replacer
}

var syntaxes = map[string]*syntax{
	"python": {
		name: regexp.MustCompile(`^[\pL_][\pL\pN_]*$`),
		keywords: []string{
			"False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else",
			"except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise",
			"return", "try", "while", "with", "yield",
		},
		null: "None", yes: "True", no: "False", nan: "float('nan')", inf: "float('inf')", neg: "float('-inf')",
		list: [2]string{"[", "]"}, object: [2]string{"{", "}"}, pair: ": ", escape: strings.NewReplacer(),
	},
	"r": {
		name: regexp.MustCompile(`^(\pL|\.\pL|\.$)[\pL\pN_.]*$`),
		keywords: []string{
			"if", "else", "repeat", "while", "function", "for", "next", "break", "in", "TRUE", "FALSE", "NULL", "Inf", "NaN", "NA",
		},
		null: "NULL", yes: "TRUE", no: "FALSE", nan: "NaN", inf: "Inf", neg: "-Inf",
		list: [2]string{"list(", ")"}, object: [2]string{"list(", ")"}, pair: " = ", escape: strings.NewReplacer(),
	},
	"julia": {
		name: regexp.MustCompile(`^[\pL_][\pL\pN_!]*$`),
		keywords: []string{
			"baremodule", "begin", "break", "catch", "const", "continue", "do", "else", "elseif", "end", "export", "false", "finally",
			"for", "function", "global", "if", "import", "let", "local", "macro", "module", "quote", "return", "struct", "true", "try",
			"using", "while",
		},
		null: "nothing", yes: "true", no: "false", nan: "NaN", inf: "Inf", neg: "-Inf",
		list: [2]string{"[", "]"}, object: [2]string{"Dict(", ")"}, pair: " => ", escape: strings.NewReplacer("$", `\$`),
	},
}

// literal writes a value.
func (s *syntax) literal(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return s.null, nil
	case bool:
		if v {
			return s.yes, nil
		}
		return s.no, nil
	case string:
		if !utf8.ValidString(v) {
			return "", errors.New("the text is not UTF-8")
		}
		return s.escape.Replace(strconv.Quote(v)), nil
	case int:
		return strconv.Itoa(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case uint64:
		return strconv.FormatUint(v, 10), nil
	case float64:
		return s.number(string(appendFloat(nil, v))), nil
	case json.Number:
		return s.number(v.String()), nil
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			text, err := s.literal(item)
			if err != nil {
				return "", err
			}
			items[i] = text
		}
		return s.list[0] + strings.Join(items, ", ") + s.list[1], nil
	case map[string]any:
		var items []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			text, err := s.literal(v[key])
			if err != nil {
				return "", err
			}
			items = append(items, s.escape.Replace(strconv.Quote(key))+s.pair+text)
		}
		return s.object[0] + strings.Join(items, ", ") + s.object[1], nil
	}
	return "", fmt.Errorf("a value of type %T can't be a parameter", v)
}

func (s *syntax) number(text string) string {
	switch text {
	case "NaN":
		return s.nan
	case "Infinity":
		return s.inf
	case "-Infinity":
		return s.neg
	}
	return text
}
