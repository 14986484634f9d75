package agent

import (
	"os"
	"path/filepath"
	"strconv"
)

// How the system ranks processes when it has to kill one: by what they have in memory, and a thousandth of all that there may be for
// each point of this.
const (
	codeRank    = 500 // of the code's above our own
	reserveRank = 250 // of a reserve's
	bridgeRank  = 125 // of what can be done without for a moment
	maxRank     = 1000
	rankFile    = "oom_score_adj"
)

// beforeUs is the rank of the code's processes. Without one a program of ours is taken for a smaller one that fills memory otherwise
// than by pages of its own, as with files in memory.
func beforeUs() int {
	return ours(codeRank)
}

// ours is our own rank and points.
func ours(points int) int {
	own, _ := readControl("/proc/self", rankFile, "")
	return min(int(own)+points, maxRank)
}

// BecomeReserve has the system take this process before any other program of ours when memory is short, and after the code.
func BecomeReserve() { setRank(os.Getpid(), ours(reserveRank)) }

// BecomeExpendable has the system take this process before the agent, and after a reserve.
func BecomeExpendable() { setRank(os.Getpid(), ours(bridgeRank)) }

// setRank gives a process that has just been started its rank. The keeper's child can't do it: as the keeper, which nobody may trace,
// it may not write there. It is a wish only: of a process that has become another user's, or has ended.
func setRank(pid, rank int) {
	_ = writeProc(filepath.Join("/proc", strconv.Itoa(pid), rankFile), strconv.Itoa(rank))
}
