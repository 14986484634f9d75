//go:build !linux

package archive

import "syscall"

// noAttribute is the error for an attribute that is not there.
const noAttribute = syscall.ENOATTR
