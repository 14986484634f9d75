//go:build !linux

package daemon

import (
	"context"
	"errors"
)

// Run is for process 1 of a container.
func Run(context.Context, Options) error { return errors.ErrUnsupported }

// Reserve is for containers, which are Linux.
func Reserve() error { return errors.ErrUnsupported }

// Expendable is for containers too.
func Expendable() {}
