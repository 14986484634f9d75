package agent

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// watchdog holds the limits that the system does not, from figures that it takes by and by, and knows which limit ended a
// process. It looks often while the code works, and every second while it idles. The instance ends it.
type watchdog struct {
	limiter *limiter
	keeper  *keeper
	dirs    []string // what counts for the limit of disk, the workspace first
	warn    func(msg string, args ...any)
	killed  func() *backends.LimitError // see Config; may be nil

	wake chan struct{} // of one element: code begins to work
	life context.Context
	stop context.CancelFunc
	done chan struct{} // closed when it has ended

	// Of its goroutine alone.
	pause   time.Duration // until the next look
	last    census
	cpu     time.Duration // at the last look
	at      time.Time     // of the last look
	refused int64         // forks, at the last look
	storm   [2]time.Time  // since when, and until when, forks were refused without a longer pause
	disk    diskUse       // last counted
	diskHit int64         // what disk held when it was last found over the limit

	mu      sync.Mutex                   // guards what follows
	runs    int                          // under way
	reasons map[int]*backends.LimitError // for processes that it has killed, by id
	all     *backends.LimitError         // why everything is being killed now
	kills   int64                        // by the system for the limit of memory, as far as they are explained
	spent   *backends.LimitError         // CPU time is used up
}

// How often it looks.
const (
	firstPause  = 25 * time.Millisecond  // after code begins to work
	memoryPause = 20 * time.Millisecond  // at the least
	forkPause   = 50 * time.Millisecond  // while code works and the number of processes is to be held
	busyPause   = 250 * time.Millisecond // while code works, at the most
	idlePause   = time.Second
	// diskSlack is by how much the folders may grow after everything was killed for them, bytes: a kernel that comes to remove
	// files makes some of its own.
	diskSlack = 1 << 20
	// fastestGrowth is by how much memory may grow a second; nothing can pass the limit sooner than this allows.
	fastestGrowth = 4 << 30
	// Code whose forks are refused for so long, with pauses shorter than forkCalm, does not take no for an answer.
	forkStorm = 2 * time.Second
	forkCalm  = 3 * time.Second
)

func newWatchdog(l *limiter, k *keeper, dirs []string, warn func(string, ...any)) *watchdog {
	w := &watchdog{
		limiter: l, keeper: k, dirs: dirs, warn: warn, pause: firstPause, reasons: make(map[int]*backends.LimitError),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	w.life, w.stop = context.WithCancel(context.Background())
	if l.needsWatchdog() {
		go w.run()
	} else {
		close(w.done)
	}
	return w
}

// begin tells that a run begins; finish tells that it is over. While any is under way the code counts as working.
func (w *watchdog) begin() {
	w.mu.Lock()
	w.runs++
	w.mu.Unlock()
	w.rouse()
}

func (w *watchdog) finish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.runs--
}

func (w *watchdog) running() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.runs > 0
}

// rouse makes it look soon.
func (w *watchdog) rouse() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// end stops the watch and waits for it.
func (w *watchdog) end() {
	w.stop()
	<-w.done
}

func (w *watchdog) run() {
	defer close(w.done)
	timer := time.NewTimer(firstPause)
	defer timer.Stop()
	for {
		select {
		case <-w.life.Done():
			return
		case <-w.keeper.wire.done:
			return
		case <-w.wake:
			w.pause = firstPause
			timer.Reset(firstPause)
			continue
		case <-timer.C:
		}
		timer.Reset(w.look())
	}
}

// look takes figures and acts on them; it returns when to look again.
func (w *watchdog) look() time.Duration {
	l, now := w.limiter, time.Now()
	cpu, counted := time.Duration(0), false
	if l.group != nil {
		cpu, counted = l.group.cpu()
	}
	if !counted || l.watched(backends.LimitMemory) || l.watched(backends.LimitProcesses) {
		w.last = l.census(w.keeper)
		if !counted {
			cpu = max(w.cpu, w.last.cpu) // a child's time may just be on its way to its parent
		}
	}
	// A fiftieth of a processor is idleness: a kernel that does nothing stays far below.
	busy := cpu-w.cpu > now.Sub(w.at)/50
	w.cpu, w.at = cpu, now
	busy = busy || w.running()
	forks, memory, spent, disk := w.lookForks(), w.lookMemory(), w.lookCPU(), w.lookDisk(busy)
	return w.next(busy || forks || memory || spent || disk)
}

// next is the time until the next look.
func (w *watchdog) next(busy bool) time.Duration {
	if !busy {
		w.pause = min(2*w.pause, idlePause)
		return w.pause
	}
	w.pause = busyPause
	if w.limiter.watched(backends.LimitProcesses) {
		w.pause = forkPause
	}
	if w.limiter.watched(backends.LimitMemory) {
		room := max(0, w.limiter.limits.Memory-w.last.memory)
		w.pause = min(w.pause, max(memoryPause, time.Duration(room*int64(time.Second)/fastestGrowth)))
	}
	return w.pause
}

// lookForks ends everything when there are too many processes, or when the code goes on forking where the system
// refuses it.
func (w *watchdog) lookForks() bool {
	limit := int64(w.limiter.limits.Processes)
	if limit == 0 {
		return false
	}
	if w.limiter.watched(backends.LimitProcesses) {
		if used := int64(w.last.threads); used > limit || w.last.partial {
			w.killAll(&backends.LimitError{Limit: backends.LimitProcesses, Allowed: limit, Used: used})
			return true
		}
		return false
	}
	refused, ok := w.limiter.group.refusals()
	if !ok || refused == w.refused {
		return false
	}
	if w.at.Sub(w.storm[1]) > forkCalm {
		w.storm[0] = w.at
	}
	w.refused, w.storm[1] = refused, w.at
	if w.storm[1].Sub(w.storm[0]) >= forkStorm {
		w.storm = [2]time.Time{}
		w.killAll(&backends.LimitError{Limit: backends.LimitProcesses, Allowed: limit, Used: limit, Note: "and the code went on forking"})
	}
	return true
}

// lookMemory kills the largest process when all together use too much.
func (w *watchdog) lookMemory() bool {
	limit := w.limiter.limits.Memory
	if !w.limiter.watched(backends.LimitMemory) || w.last.memory <= limit {
		return false
	}
	used := w.last.memory
	if w.last.processes > 1 { // they may share much
		if used = w.last.exactMemory(); used <= limit {
			return false
		}
	}
	w.explain(w.last.largest.pid, &backends.LimitError{Limit: backends.LimitMemory, Allowed: limit, Used: used})
	w.last.largest.kill()
	return true
}

// lookCPU ends everything when the time is used up.
func (w *watchdog) lookCPU() bool {
	limit := w.limiter.limits.CPUTime
	if limit == 0 || w.cpu < limit {
		return false
	}
	reason := &backends.LimitError{Limit: backends.LimitCPUTime, Allowed: int64(limit), Used: int64(w.cpu)}
	w.mu.Lock()
	again := w.spent != nil
	w.spent = reason
	w.mu.Unlock()
	if again && w.limiter.census(w.keeper).processes == 0 {
		return false
	}
	w.killAll(reason)
	return true
}

// lookDisk ends everything when the folders hold too much, and then only when they grow further: the code may be run
// again to remove what is too much.
func (w *watchdog) lookDisk(busy bool) bool {
	limit := w.limiter.limits.Disk
	// Counting takes at most a twentieth of the time.
	if limit == 0 || !busy && !w.disk.time.IsZero() || time.Since(w.disk.time) < max(busyPause/2, 20*w.disk.took) {
		return false
	}
	w.disk = measureDisk(w.life, w.dirs...)
	c := w.limiter.census(w.keeper)
	used := w.disk.bytes + c.unlinkedBytes(w.dirs[0]) // and what files without a name take
	if used <= limit && !w.disk.partial {
		w.diskHit = 0
		return false
	}
	if w.diskHit > 0 && used <= w.diskHit+diskSlack {
		return false
	}
	reason := &backends.LimitError{Limit: backends.LimitDisk, Allowed: limit, Used: used}
	if used <= limit {
		reason.Note = "and more than can be counted"
	}
	w.killAll(reason)
	w.disk = measureDisk(w.life, w.dirs...) // what was written until then is not held against those who come to remove it
	w.diskHit = max(used, w.disk.bytes)
	return true
}

// explain notes why a process is about to be killed, if it is one that somebody will ask about.
func (w *watchdog) explain(pid int, reason *backends.LimitError) {
	if !w.keeper.started(pid) && !slices.Contains(w.keeper.owner.guestIDs(), pid) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reasons[pid] = reason
}

// killAll ends every process, for a reason.
func (w *watchdog) killAll(reason *backends.LimitError) {
	w.setAll(reason)
	defer w.setAll(nil)
	ctx, cancel := context.WithTimeout(context.Background(), killPatience)
	defer cancel()
	if err := w.keeper.killEverything(ctx); err != nil {
		w.warn("end what passed a limit", "limit", reason.Limit, "error", err) // the next look tries again
	}
	w.last = census{}
}

func (w *watchdog) setAll(reason *backends.LimitError) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = reason
}

// verdict tells which limit ended a process; nil when none did. It is called once for each, as it ends.
func (w *watchdog) verdict(pid int, status backends.ExitStatus) *backends.LimitError {
	w.mu.Lock()
	defer w.mu.Unlock()
	reason := w.reasons[pid]
	delete(w.reasons, pid)
	switch {
	case status.Signal != "SIGKILL":
		return w.limiter.judge(status)
	case w.all != nil:
		return w.all
	case reason != nil:
		return reason
	}
	if limit := w.killedForMemory(); limit != nil || w.killed == nil {
		return limit
	}
	return w.killed()
}

// killedForMemory tells whether the system has killed for the limit of memory since it was last asked.
func (w *watchdog) killedForMemory() *backends.LimitError {
	if w.limiter.group == nil || w.limiter.limits.Memory == 0 || w.limiter.watched(backends.LimitMemory) {
		return nil
	}
	kills, ok := w.limiter.group.kills()
	if !ok || kills == w.kills {
		return nil
	}
	w.kills = kills
	return &backends.LimitError{Limit: backends.LimitMemory, Allowed: w.limiter.limits.Memory, Used: w.limiter.limits.Memory}
}

// refusal is why nothing may be started any more; nil when it may.
func (w *watchdog) refusal() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.spent == nil {
		return nil
	}
	return w.spent
}
