//go:build !linux

package agent

import (
	"fmt"
	"runtime"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Confinement reports that there is none.
func Confinement() (detail string, err error) {
	return "", fmt.Errorf("%w: %s has no Landlock, which Linux has", backends.ErrUnsupported, runtime.GOOS)
}
