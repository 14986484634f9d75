package docker

import "syscall"

// Owner is the id that the backend's containers name.
func (b *Backend) Owner() string { return b.owner.id }

// Die lets go of the owner's lock, as the end of the program does.
func (b *Backend) Die() error { return syscall.Flock(int(b.owner.file.Fd()), syscall.LOCK_UN) }
