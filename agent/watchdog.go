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
	files   *disk
	warn    func(msg string, args ...any)

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
	diskHit int64         // what was held against the limit when it was last found exceeded
	freed   int64         // kills by the system after which shared memory was looked at
	shared  sharedUse     // last counted
	scanned time.Time     // when it was
	took    time.Duration // how long that took
	unseen  bool          // it was told that not all can be counted

	mu      sync.Mutex                   // guards what follows
	runs    int                          // under way
	reasons map[int]*backends.LimitError // for processes that it has killed, by id
	all     *backends.LimitError         // why everything is being killed now, or was when that failed
	allTo   time.Time                    // when it failed, if it did: what began before may still be ended by it
	record  record
	spent   *backends.LimitError // CPU time is used up
}

// How often it looks.
const (
	firstPause  = 25 * time.Millisecond  // after code begins to work
	memoryPause = 20 * time.Millisecond  // at the least
	forkPause   = 50 * time.Millisecond  // while code works and the number of processes is to be held
	busyPause   = 250 * time.Millisecond // while code works, at the most
	idlePause   = time.Second
	idleCount   = 2 * time.Second // of the disk
	// diskSlack is by how much the folders may grow after everything was killed for them, bytes: a kernel that comes to remove
	// files makes some of its own.
	diskSlack = 1 << 20
	// fastestGrowth is by how much memory may grow a second; nothing can pass the limit sooner than this allows.
	fastestGrowth = 4 << 30
	// Code whose forks are refused for so long, with pauses shorter than forkCalm, does not take no for an answer.
	forkStorm = 2 * time.Second
	forkCalm  = 3 * time.Second
	// killAllPatience bounds how long a keeper may take to end everything: the code may have stopped it.
	killAllPatience = 10 * time.Second
)

func newWatchdog(l *limiter, k *keeper, files *disk, warn func(string, ...any)) *watchdog {
	w := &watchdog{
		limiter: l, keeper: k, files: files, warn: warn, pause: firstPause, reasons: make(map[int]*backends.LimitError),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	w.life, w.stop = context.WithCancel(context.Background())
	w.record.counts = l.counts() // what was before is no matter of ours
	w.freed = w.record.counts.kills
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
	w.noteSystem() // what was before is not the run's
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
	if kills := w.takeNote(); kills > w.freed {
		w.freed = kills
		w.keeper.owner.freeShared()
	}
	cpu, counted, lost := time.Duration(0), false, false
	if l.group != nil {
		cpu, counted = l.group.cpu()
	}
	if !counted || l.watched(backends.LimitMemory) || l.watched(backends.LimitProcesses) {
		w.last = l.census(w.keeper)
		if !counted {
			cpu, lost = l.account.spent(&w.last)
			cpu = max(w.cpu, cpu) // a child's time may just be on its way to its parent
		}
	}
	// A fiftieth of a processor is idleness: a kernel that does nothing stays far below.
	busy := cpu-w.cpu > now.Sub(w.at)/50
	w.cpu, w.at = cpu, now
	busy = busy || w.running()
	forks, memory, spent, disk := w.lookForks(), w.lookMemory(), w.lookCPU(), w.lookDisk(busy)
	pause := w.next(busy || forks || memory || spent || disk)
	if lost && l.limits.CPUTime > 0 { // what is used after a look is lost with the rest, so it looks more often
		w.pause = min(pause, forkPause)
	}
	return w.pause
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
		room := max(0, w.limiter.limits.Memory-w.last.memory-w.shared.bytes)
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
	if !w.limiter.watched(backends.LimitMemory) {
		return false
	}
	w.countShared(limit)
	used := w.last.memory + w.shared.bytes
	if used <= limit {
		return false
	}
	if w.last.processes > 1 { // they may share much
		if used = w.last.exactMemory() + w.shared.bytes; used <= limit {
			return false
		}
	}
	victim := w.shared.largest
	if victim.memory < w.last.largest.memory {
		victim = w.last.largest
	}
	w.keeper.owner.agent.shared.settle() // while it can be seen what it holds
	w.explain(victim.pid, &backends.LimitError{Limit: backends.LimitMemory, Allowed: limit, Used: used})
	victim.kill()
	w.last, w.scanned = census{}, time.Time{}
	if w.shared.bytes > 0 {
		w.freeShared(victim, limit)
	}
	return true
}

// freeShared removes what a process that was killed for it has left in shared memory, when that leaves less than half of the
// limit to those who come next.
func (w *watchdog) freeShared(victim member, limit int64) {
	for deadline := time.Now().Add(killPatience); victim.alive() && time.Now().Before(deadline) && w.life.Err() == nil; {
		time.Sleep(time.Millisecond)
	}
	c, files := w.limiter.census(w.keeper), w.keeper.owner.shared
	if use := c.shared(files); use.unheld > 0 && c.memory+use.bytes > limit/2 {
		files.remove()
	}
}

// countShared counts the memory in shared files where it may make a difference, and then in a twentieth of the time at the most.
func (w *watchdog) countShared(limit int64) {
	if w.last.memory+allShared() <= limit {
		w.shared = sharedUse{}
		return
	}
	if time.Since(w.scanned) >= 20*w.took {
		taken := stopwatch()
		w.shared = w.last.shared(w.keeper.owner.shared)
		w.scanned, w.took = time.Now(), taken()
	}
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
// again to remove what is too much. Of folders that can't be looked into, which anybody may have, nothing is concluded.
func (w *watchdog) lookDisk(busy bool) bool {
	limit := w.limiter.limits.Disk
	// Counting takes at most a twentieth of the time, and a hundredth while the code does next to nothing: that is enough to write.
	pause := max(busyPause/2, 20*w.disk.took)
	if !busy && !w.disk.time.IsZero() {
		pause = max(idleCount, 100*w.disk.took)
	}
	if limit == 0 || time.Since(w.disk.time) < pause {
		return false
	}
	var used int64
	used, w.disk = w.files.charge(w.life)
	if w.life.Err() != nil {
		return false
	}
	if w.disk.partial && !w.unseen {
		w.warn("the limit of disk holds for what can be counted only: folders deny it, are changed all the time, or hold too much")
	}
	w.unseen = w.disk.partial
	uncounted := w.disk.full && !w.files.base.full
	if used <= limit && !uncounted {
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
	// What was written until then is not held against those who come to remove it.
	after, now := w.files.charge(w.life)
	w.disk, w.diskHit = now, max(used, after)
	return true
}

// explain notes why a process is about to be killed.
func (w *watchdog) explain(pid int, reason *backends.LimitError) {
	w.struck(reason, w.ancestor(pid))
	if !w.keeper.started(pid) && !slices.Contains(w.keeper.owner.guestIDs(), pid) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reasons[pid] = reason
}

// killAll ends every process, for a reason. Where the code is many, their keeper hardly comes to work: it has time.
func (w *watchdog) killAll(reason *backends.LimitError) {
	w.struck(reason, 0)
	w.setAll(reason, time.Time{})
	ctx, cancel := context.WithTimeout(context.Background(), killAllPatience)
	defer cancel()
	if err := w.keeper.killEverything(ctx); err != nil {
		// The next look tries again, and ends that this has brought about may be told of until then.
		w.setAll(reason, time.Now())
		w.warn("end what passed a limit", "limit", reason.Limit, "error", err)
	} else {
		w.setAll(nil, time.Time{})
	}
	w.last = census{}
}

func (w *watchdog) setAll(reason *backends.LimitError, until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all, w.allTo = reason, until
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
