package docker

import (
	"errors"
	"syscall"
)

// Owner is the id that the backend's containers name.
func (b *Backend) Owner() string { return b.owner.id }

// Die lets go of the owner's lock and of the agents, as the end of the program does.
func (b *Backend) Die() error {
	err := syscall.Flock(int(b.owner.file.Fd()), syscall.LOCK_UN)
	for _, in := range b.live() {
		err = errors.Join(err, in.client.Close())
	}
	return err
}
