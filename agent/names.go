package agent

import (
	"cmp"
	"fmt"
	"path"
	"strconv"
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

// A name that is no UTF-8, as code may make one, can't be told in JSON as it is. Each byte that is out of place is shown as
// U+FFFD and its two hexadecimal digits, and who names a file so means that one. A name that has such a U+FFFD itself is
// shown with its bytes, so that what is shown is always one name and leads back to it.
const mark = "\uFFFD"

// shown is a name as it is told.
func shown(name string) string {
	if utf8.ValidString(name) && !strings.Contains(name, mark) {
		return name
	}
	var b strings.Builder
	for i := 0; i < len(name); {
		r, size := utf8.DecodeRuneInString(name[i:])
		_, marks := markedByte(name[i:])
		if r == utf8.RuneError && size == 1 || marks {
			for _, c := range []byte(name[i : i+size]) {
				fmt.Fprintf(&b, "%s%02x", mark, c)
			}
		} else {
			b.WriteString(name[i : i+size])
		}
		i += size
	}
	return b.String()
}

// meant is the name that is told so.
func meant(told string) string {
	if !strings.Contains(told, mark) {
		return told
	}
	var b strings.Builder
	for i := 0; i < len(told); {
		if c, ok := markedByte(told[i:]); ok {
			b.WriteByte(c)
			i += len(mark) + 2
			continue
		}
		b.WriteByte(told[i])
		i++
	}
	return b.String()
}

// markedByte reads the byte of no UTF-8 that text begins with, if it does.
func markedByte(text string) (c byte, ok bool) {
	rest, ok := strings.CutPrefix(text, mark)
	if !ok || len(rest) < 2 {
		return 0, false
	}
	n, err := strconv.ParseUint(rest[:2], 16, 8)
	return byte(n), err == nil && n >= utf8.RuneSelf
}

// checkName refuses what can be no name, and returns the one that is meant.
func checkName(name string) (string, error) {
	if len(name) > maxName || strings.ContainsRune(name, 0) || !utf8.ValidString(name) {
		return "", backends.ErrInvalidName
	}
	name = meant(name)
	for _, element := range strings.Split(name, "/") {
		if len(element) > maxElement {
			return "", backends.ErrInvalidName
		}
	}
	return name, nil
}

// cleanWhole is clean where the workspace is all there is: above "/" is "/".
func cleanWhole(name string) (string, error) {
	name, err := checkName(name)
	if err != nil {
		return "", err
	}
	return cmp.Or(path.Clean("/" + name)[1:], "."), nil
}

// clean returns name relative to the workspace, with slashes; "." is the workspace itself. The workspace has these paths.
func clean(name string, workspace ...string) (string, error) {
	name, err := checkName(name)
	if err != nil {
		return "", err
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
