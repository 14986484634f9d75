package firewall

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/ds-sandbox/ds-sandbox/agent/netrules"
)

// Lifetime is how long an address stays admitted after a name led there or a packet was sent to it. It is at least twice the longest
// time to live of an answer (resolver.MaxTTL), and an hour so that a quiet connection is not cut.
const Lifetime = time.Hour

// maxResolved bounds the addresses of each family that names led to, maxNames the names remembered for one.
const (
	maxResolved = 4096
	maxNames    = 8
)

// ErrFull says that names led to more addresses than are remembered.
var ErrFull = errors.New("too many addresses are admitted by name")

// Firewall is the tables of one network namespace.
type Firewall struct {
	mu       sync.Mutex // guards what follows, and makes transactions one after another
	rules    netrules.Rules
	resolved map[netip.Addr]*entry
}

// entry is an address that names led to.
type entry struct {
	names     []string
	refreshed time.Time
}

// Open is the firewall of this process's network namespace. If there is none yet, nothing is admitted until Apply.
func Open() (*Firewall, error) {
	f := &Firewall{rules: netrules.Rules{Version: netrules.Version}, resolved: map[netip.Addr]*entry{}}
	if there, err := exists(); err != nil || there {
		return f, err // a helper before this one died; what it admitted stays until there are rules
	}
	_, err := f.Apply(f.rules)
	return f, err
}

// connect makes connections whose buffers hold the largest transaction and its acknowledgements. After a transaction that failed the
// kernel may send fewer of these than the library waits for, hence the deadline.
func connect() (*nftables.Conn, error) {
	return nftables.New(nftables.WithSockOptions(func(c *netlink.Conn) error {
		return errors.Join(c.SetWriteBuffer(4<<20), c.SetReadBuffer(4<<20), c.SetDeadline(time.Now().Add(answerTime)))
	}))
}

// answerTime is far more than the largest transaction takes.
const answerTime = 10 * time.Second

// exists reports whether this namespace has tables of ours.
func exists() (bool, error) {
	conn, err := connect()
	if err != nil {
		return false, err
	}
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return false, explain(err)
	}
	return slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == tableName }), nil
}

// Rules are those in force, without the subnets of this namespace. The caller must not change them.
func (f *Firewall) Rules() netrules.Rules {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rules
}

// Apply replaces the rules, and cuts connections that are no longer admitted; it returns how many.
// Addresses that names led to stay while such a name is still admitted. On an error the former rules are in force, unless it says
// that it was only about ending connections.
func (f *Firewall) Apply(rules netrules.Rules) (cut int, err error) {
	if err := rules.Check(); err != nil {
		return 0, err
	}
	own, err := ownNetwork()
	if err != nil {
		return 0, err
	}
	rules = rules.Without(own.subnets)

	f.mu.Lock()
	defer f.mu.Unlock()
	alive, err := listResolved()
	if err != nil {
		return 0, explain(err)
	}
	kept := map[netip.Addr]*entry{}
	for address, e := range f.resolved {
		leads := func(name string) bool { return rules.Resolves(name, address) }
		if _, lives := alive[address]; lives && slices.ContainsFunc(e.names, leads) {
			kept[address] = &entry{names: slices.DeleteFunc(slices.Clone(e.names), func(n string) bool { return !leads(n) }), refreshed: time.Now()}
		}
	}
	conn, err := connect()
	if err != nil {
		return 0, err
	}
	if err := build(conn, &rules, own, kept); err != nil {
		return 0, err
	}
	if err := conn.Flush(); err != nil {
		return 0, explain(err)
	}
	f.rules, f.resolved = rules, kept
	return cutConnections(func(remote netip.AddrPort) bool {
		_, resolved := kept[remote.Addr()]
		return resolved || rules.Admitted.Contains(remote.Addr()) || slices.Contains(rules.Upstreams, remote) || own.has(remote.Addr())
	})
}

// Admit lets the addresses be reached that name led to, and returns those that may be. It returns when they can be reached.
func (f *Firewall) Admit(name string, addresses []netip.Addr) ([]netip.Addr, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.rules.Names.Admits(name) {
		return nil, nil
	}
	var may, add []netip.Addr
	for _, address := range addresses {
		address = address.Unmap()
		if f.rules.Resolves(name, address) {
			may = append(may, address)
			if e := f.resolved[address]; e == nil || time.Since(e.refreshed) > Lifetime/4 {
				add = append(add, address)
			} else {
				e.remember(name)
			}
		} else if f.rules.Admitted.Contains(address) {
			may = append(may, address)
		}
	}
	if len(add) == 0 {
		return may, nil
	}
	if len(f.resolved)+len(add) > maxResolved {
		if err := f.forget(); err != nil {
			return nil, err
		}
	}
	if len(f.resolved)+len(add) > maxResolved {
		return nil, ErrFull
	}
	if err := addResolved(add); err != nil {
		return nil, explain(err)
	}
	for _, address := range add {
		e := f.resolved[address]
		if e == nil {
			e = &entry{}
			f.resolved[address] = e
		}
		e.refreshed = time.Now()
		e.remember(name)
	}
	return may, nil
}

func (e *entry) remember(name string) {
	if !slices.Contains(e.names, name) {
		if len(e.names) == maxNames {
			e.names = e.names[1:]
		}
		e.names = append(e.names, name)
	}
}

// forget drops what has expired in the kernel.
func (f *Firewall) forget() error {
	alive, err := listResolved()
	if err != nil {
		return explain(err)
	}
	for address := range f.resolved {
		if _, lives := alive[address]; !lives {
			delete(f.resolved, address)
		}
	}
	return nil
}

// explain adds what to do to errors of netlink.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("nftables: %w: the helper needs the capability NET_ADMIN", err)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOENT), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("nftables: %w: the engine's kernel lacks a part of nftables (nf_tables, nft_ct, nft_reject, nft_nat): load them, "+
			"or use network mode none", err)
	}
	return fmt.Errorf("nftables: %w", err)
}

// Mark makes packets of a socket the resolver's own: only these reach the upstreams. Setting it needs NET_ADMIN or NET_RAW,
// which no code in a sandbox has. It fits net.Dialer.Control.
func Mark(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, mark) }); e != nil {
		return e
	}
	return err
}
