//go:build !linux

package daemon

import "errors"

// become is of no use here: nothing has accounts.
func become(bool) error { return errors.ErrUnsupported }
