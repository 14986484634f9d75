package sandbox

import (
	"context"
	"strings"
)

// aliases are other names of languages.
var aliases = map[string]string{
	"":        "python",
	"python3": "python",
	"py":      "python",
	"js":      "javascript",
	"ts":      "typescript",
	"sh":      "bash",
	"shell":   "bash",
}

// normalLanguage is a language as contexts are named for it.
func normalLanguage(language string) string {
	language = strings.ToLower(strings.TrimSpace(language))
	if name, ok := aliases[language]; ok {
		return name
	}
	return language
}

// alsoRuns says which other language's kernel runs a language.
var alsoRuns = map[string]string{"javascript": "typescript"}

// kernelFor is the kernelspec of a language: the one named so, or else the first that runs it. When none is installed it is the
// language itself, and found is false: the instance says what is installed and where it looked.
func (e *Engine) kernelFor(ctx context.Context, language string) (name string, found bool, err error) {
	if language == "python" {
		return "python3", true, nil
	}
	specs, err := e.backend.KernelSpecs(ctx)
	if err != nil {
		return "", false, err
	}
	for _, spec := range specs {
		if strings.EqualFold(spec.Name, language) {
			return spec.Name, true, nil
		}
	}
	for _, wanted := range []string{language, alsoRuns[language]} {
		for _, spec := range specs {
			if wanted != "" && strings.EqualFold(spec.Language, wanted) {
				return spec.Name, true, nil
			}
		}
	}
	return language, false, nil
}
