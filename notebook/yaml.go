package notebook

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// ParseParameters reads parameters from YAML, or JSON, which is YAML too: a mapping from names to values, in its order.
func ParseParameters(text string) ([]Parameter, error) {
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		return nil, fmt.Errorf("notebook: parameters: %w", err)
	}
	if len(document.Content) == 0 {
		return nil, nil
	}
	mapping := document.Content[0]
	if mapping.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("notebook: parameters: line %d: not a mapping of names to values", mapping.Line)
	}
	var out []Parameter
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, node := mapping.Content[i], mapping.Content[i+1]
		var v any
		err := node.Decode(&v)
		if err == nil {
			v, err = plainYAML(v)
		}
		if err != nil {
			return nil, fmt.Errorf("notebook: parameters: line %d: %s: %w", key.Line, key.Value, err)
		}
		out = append(out, Parameter{Name: key.Value, Value: v})
	}
	return out, nil
}

// plainYAML is a value of YAML as JSON has it: dates become text.
func plainYAML(v any) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		for key, item := range v {
			plain, err := plainYAML(item)
			if err != nil {
				return nil, err
			}
			v[key] = plain
		}
	case []any:
		for i, item := range v {
			plain, err := plainYAML(item)
			if err != nil {
				return nil, err
			}
			v[i] = plain
		}
	case map[any]any:
		return nil, errors.New("a mapping has a key that is no text")
	case string:
		if !utf8.ValidString(v) {
			return nil, errors.New("a text is not UTF-8")
		}
	case time.Time:
		if v.Equal(v.Truncate(24 * time.Hour)) {
			return v.Format(time.DateOnly), nil
		}
		return v.Format(time.RFC3339Nano), nil
	}
	return v, nil
}

// ParseParameter reads NAME=VALUE. The value is JSON, or one of Python's None, True, False, nan, inf and -inf, or else text.
func ParseParameter(text string) (Parameter, error) {
	name, value, given := strings.Cut(text, "=")
	if name = strings.TrimSpace(name); !given || name == "" {
		return Parameter{}, fmt.Errorf("notebook: parameters: %q is no NAME=VALUE", text)
	}
	word := strings.TrimSpace(value)
	switch word {
	case "None":
		return Parameter{name, nil}, nil
	case "True", "False":
		return Parameter{name, word == "True"}, nil
	case "nan":
		return Parameter{name, json.Number("NaN")}, nil
	case "inf":
		return Parameter{name, json.Number("Infinity")}, nil
	case "-inf":
		return Parameter{name, json.Number("-Infinity")}, nil
	}
	if v, err := parseJSON(word); err == nil {
		return Parameter{name, v}, nil
	}
	return Parameter{name, value}, nil
}
