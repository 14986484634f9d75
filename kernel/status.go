package kernel

// State is what a kernel does, as this connection knows it.
type State string

// The states of a connection.
const (
	Starting State = "starting" // not Ready yet
	Idle     State = "idle"
	Busy     State = "busy"  // a run of ours is under way
	Stuck    State = "stuck" // did not react to an interrupt: until it is done with that run, or is restarted
	Dead     State = "dead"  // see Err
)

// State tells what the kernel does.
func (c *Conn) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch f := &c.state; {
	case f.err != nil:
		return Dead
	case f.stuck != nil:
		return Stuck
	case len(f.executions) > 0:
		return Busy
	case !f.ready:
		return Starting
	}
	return Idle
}

// Unclaimed counts the messages that belonged to nothing in flight while nobody subscribed: output of threads
// after their run, other clients' runs, duplicates.
func (c *Conn) Unclaimed() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.unclaimed
}
