package agent

import (
	"path"
	"strings"
	"unicode/utf8"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// maxElement is the longest element of a path, bytes, as file systems have it.
const maxElement = 255

// maxName is the longest path we take, bytes.
const maxName = 4096

// homeAlias is the workspace's name in container sandboxes, taken here too so that code moves between them.
const homeAlias = "/home/user"

// clean returns name relative to the workspace, with slashes; "." is the workspace itself. The workspace has these paths.
func clean(name string, workspace ...string) (string, error) {
	if len(name) > maxName || strings.ContainsRune(name, 0) || !utf8.ValidString(name) {
		return "", backends.ErrInvalidName
	}
	for _, element := range strings.Split(name, "/") {
		if len(element) > maxElement {
			return "", backends.ErrInvalidName
		}
	}
	for _, root := range append(workspace, homeAlias) {
		if rest, ok := strings.CutPrefix(name, root); ok && (rest == "" || rest[0] == '/') {
			name = rest
			break
		}
	}
	cleaned := path.Clean(strings.TrimLeft(name, "/"))
	if name == "" || cleaned == "" {
		return ".", nil
	}
	if cleaned == ".." || strings.HasPrefix(cleaned, "../") {
		return "", backends.ErrOutside
	}
	return cleaned, nil
}
