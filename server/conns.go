package server

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// conns keeps the number of connections bounded: when there are too many, that on which nothing was asked for longest is closed, so that
// those which do nothing keep nobody out.
type conns struct {
	most int

	mu    sync.Mutex // guards what follows
	all   map[net.Conn]*list.Element
	quiet *list.List // of connections on which nothing is asked, the longest so first
}

func newConns(most int) *conns {
	return &conns{most: most, all: make(map[net.Conn]*list.Element), quiet: list.New()}
}

// note is http.Server.ConnState.
func (c *conns) note(conn net.Conn, state http.ConnState) {
	var victim net.Conn
	c.mu.Lock()
	if e := c.all[conn]; e != nil {
		c.quiet.Remove(e)
	}
	switch state {
	case http.StateNew, http.StateIdle:
		c.all[conn] = c.quiet.PushBack(conn)
		if len(c.all) > c.most {
			victim = c.quiet.Front().Value.(net.Conn)
			c.forget(victim)
		}
	case http.StateActive:
		c.all[conn] = nil
	case http.StateClosed, http.StateHijacked: // those are bounded by the requests they come from
		delete(c.all, conn)
	}
	c.mu.Unlock()
	if victim != nil {
		_ = victim.Close()
	}
}

// forget takes a quiet connection off; mu is held.
func (c *conns) forget(conn net.Conn) {
	if e := c.all[conn]; e != nil {
		c.quiet.Remove(e)
	}
	delete(c.all, conn)
}

func (c *conns) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.all)
}
