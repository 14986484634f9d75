package agent

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Ids that no process has.
const (
	fakeRoot = 1<<30 + iota
	fakeParent
	fakeChild
	fakeGrandchild
)

func TestTimeOfThoseWhoVanishIsCarriedForwardOnce(t *testing.T) {
	const s = time.Second
	proc := func(parent int, cpu, reaped time.Duration) procStat {
		return procStat{start: 1, parent: parent, cpu: cpu, reaped: reaped}
	}
	for name, steps := range map[string][]map[int]procStat{
		"waited for": {
			{fakeRoot: proc(0, 0, 0), fakeParent: proc(fakeRoot, s, 0), fakeChild: proc(fakeParent, 3*s, 0)},
			{fakeRoot: proc(0, 0, 0), fakeParent: proc(fakeRoot, 4*s, 3*s)},
		},
		"waited for after the look": {
			{fakeRoot: proc(0, 0, 0), fakeParent: proc(fakeRoot, s, 0), fakeChild: proc(fakeParent, 3*s, 0)},
			{fakeRoot: proc(0, 0, 0), fakeParent: proc(fakeRoot, s, 0)},
			{fakeRoot: proc(0, 0, 0), fakeParent: proc(fakeRoot, 4*s, 3*s)},
		},
		"never waited for": {
			{fakeRoot: proc(0, 0, 0), fakeParent: proc(fakeRoot, s, 0), fakeChild: proc(fakeParent, 3*s, 0)},
			{fakeRoot: proc(0, 0, 0), fakeParent: proc(fakeRoot, s, 0)},
			{fakeRoot: proc(0, 0, 0), fakeParent: proc(fakeRoot, s, 0)},
		},
		"with their parent": {
			{fakeRoot: proc(0, 0, 0), fakeParent: proc(fakeRoot, s, 0), fakeChild: proc(fakeParent, s, 0), fakeGrandchild: proc(fakeChild, 2*s, 0)},
			{fakeRoot: proc(0, 0, 0), fakeParent: proc(fakeRoot, 4*s, 3*s)},
		},
		"as orphans": {
			{fakeRoot: proc(0, 0, 0), fakeParent: proc(fakeRoot, s, 0), fakeChild: proc(fakeParent, s, 0), fakeGrandchild: proc(fakeChild, 2*s, 0)},
			{fakeRoot: proc(0, 2*s, 2*s), fakeParent: proc(fakeRoot, 2*s, s)},
		},
		"all": {
			{fakeRoot: proc(0, 0, 0), fakeParent: proc(fakeRoot, s, 0), fakeChild: proc(fakeParent, 3*s, 0)},
			{fakeRoot: proc(0, 4*s, 4*s)},
		},
	} {
		var a account
		var total time.Duration
		steps = append(steps, steps[len(steps)-1], steps[len(steps)-1])
		for _, stats := range steps {
			c := census{roots: []int{fakeRoot}, stats: stats}
			for _, p := range stats {
				c.cpu += p.cpu
			}
			total, _ = a.spent(&c)
		}
		require.Equal(t, 4*s, total, name)
	}
}
