package archive

import (
	"strings"

	"github.com/google/uuid"
)

const (
	temporaryPrefix = ".ds-sandbox-"
	replacingPrefix = temporaryPrefix + "over-"
)

// TemporaryName is a name for what takes its place later. It says whether it replaces something there, which the system does
// not tell those who watch the folder.
func TemporaryName(replaces bool) string {
	if replaces {
		return replacingPrefix + uuid.NewString()
	}
	return temporaryPrefix + uuid.NewString()
}

// IsTemporary reports whether a name is one of TemporaryName's.
func IsTemporary(name string) bool { return strings.HasPrefix(name, temporaryPrefix) }

// Replaces reports whether a name of TemporaryName's is for what replaces something.
func Replaces(name string) bool { return strings.HasPrefix(name, replacingPrefix) }
