//go:build !linux

package agent

import "time"

// tree measures nothing where there is no /proc.
type tree struct {
	pid   int
	spare func() []int
}

type gauge struct{}

func (*tree) start() gauge { return gauge{} }

func (gauge) stop() (time.Duration, int64) { return 0, 0 }
