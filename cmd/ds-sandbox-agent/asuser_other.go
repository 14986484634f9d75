//go:build !linux

package main

import (
	"context"
	"errors"
)

func asUser(context.Context, []string) error { return errors.ErrUnsupported }

func asRoot(context.Context, []string) error { return errors.ErrUnsupported }
