//go:build !linux

package agent

import "time"

// census counts nothing where there is no /proc.
type census struct {
	cpu                time.Duration
	memory             int64
	processes, threads int
	largest            member
	members            []int
	partial            bool
	roots              []int
}

type member struct {
	pid    int
	memory int64
}

// account keeps nothing either.
type account struct{}

func (*account) spent(*census) (time.Duration, bool) { return 0, false }

func (*limiter) census(*keeper) census     { return census{} }
func canTakeCensus() bool                  { return false }
func (*census) exactMemory() int64         { return 0 }
func (*census) unlinkedBytes(string) int64 { return 0 }
func (member) kill()                       {}
func parentOf(int) int                     { return 0 }
func (member) alive() bool                 { return false }
