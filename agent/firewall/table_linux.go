package firewall

import (
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/ds-sandbox/ds-sandbox/agent/netrules"
)

const (
	tableName = "ds_sandbox"
	mark      = 0x6473_6e73 // "dsns"
	// chunk is how many ranges go into one message: its length is a number of 16 bits.
	chunk = 256
)

// engineDNS is where Docker's own resolver listens in containers of networks that a person made. It knows other containers' names.
var (
	engineDNS = netip.MustParseAddr("127.0.0.11")
	loopback  = netip.MustParseAddr("127.0.0.1")
)

// tables collects one transaction.
type tables struct {
	conn  *nftables.Conn
	table *nftables.Table
	chain *nftables.Chain
	err   error
}

// build puts the whole of the tables into conn's transaction, in place of the former ones.
//
// Outgoing packets are judged by their destination alone, never by their connection's state, so that new rules hold for old
// connections. Incoming ones must belong to a connection that was begun inside and come from where one may go.
func build(conn *nftables.Conn, rules *netrules.Rules, o own, resolved map[netip.Addr]*entry) error {
	t := &tables{conn: conn}
	t.replace(nftables.TableFamilyINet)
	var mine, admitted, led [2]*nftables.Set
	for i, v6 := range []bool{false, true} {
		mine[i] = t.set("own", v6, nftables.Set{}, singles(mineAt(o, v6)))
		admitted[i] = t.set("admitted", v6, nftables.Set{Interval: true}, intervals(rules.Admitted.Family(v6)))
		var kept []netip.Addr
		for a := range resolved {
			if a.Is6() == v6 {
				kept = append(kept, a)
			}
		}
		led[i] = t.set("resolved", v6, resolvedSet(), timed(kept))
	}

	t.base("output", nftables.ChainTypeFilter, nftables.ChainHookOutput, *nftables.ChainPriorityFilter)
	// Docker's resolver is not spoken to: what is asked there comes to ours, see the second table.
	t.add(rule{}.outLoopback().address(destination, engineDNS).reset())
	t.add(rule{}.outLoopback().address(destination, engineDNS).prohibit())
	// Nobody speaks in the name of an upstream, not even to the resolver here: IPv6 lets any socket bind to any address.
	t.add(rule{}.outLoopback().tcpReset().accept())
	t.add(rule{}.outLoopback().fromLoopback().accept())
	t.add(rule{}.outLoopback().address(source, netip.IPv6Loopback()).accept())
	for _, kind := range []byte{133, 135, 136} { // router and neighbour solicitation, advertisement: by the kernel
		t.add(rule{}.neighbour(kind).accept())
	}
	for i, v6 := range []bool{false, true} {
		t.add(rule{}.notIn(source, mine[i], v6).drop())
	}
	t.add(rule{}.outLoopback().accept())
	t.add(rule{}.options().prohibit())
	t.add(rule{}.extensions().prohibit())
	for _, up := range rules.Upstreams {
		for _, l4 := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
			t.add(rule{}.marked().protocol(l4).address(destination, up.Addr()).port(destination, up.Port()).accept())
		}
	}
	for _, l4 := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6} {
		for i, v6 := range []bool{false, true} {
			t.add(rule{}.protocol(l4).in(destination, admitted[i], v6).accept())
			t.add(rule{}.protocol(l4).in(destination, led[i], v6).refresh(led[i]).accept())
		}
	}
	t.add(rule{}.reset())
	t.add(rule{}.prohibit())

	t.base("input", nftables.ChainTypeFilter, nftables.ChainHookInput, *nftables.ChainPriorityFilter)
	t.add(rule{}.inLoopback().accept())
	for _, kind := range []byte{135, 136} {
		t.add(rule{}.neighbour(kind).accept())
	}
	// Errors about our own packets come from any router: a path's smaller packets, hosts that are gone.
	t.add(rule{}.protocol(unix.IPPROTO_ICMP).state(expr.CtStateBitRELATED).accept())
	t.add(rule{}.protocol(unix.IPPROTO_ICMPV6).state(expr.CtStateBitRELATED).accept())
	for _, up := range rules.Upstreams {
		for _, l4 := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
			t.add(rule{}.state(expr.CtStateBitESTABLISHED).protocol(l4).address(source, up.Addr()).port(source, up.Port()).accept())
		}
	}
	for i, v6 := range []bool{false, true} {
		t.add(rule{}.state(expr.CtStateBitESTABLISHED).in(source, admitted[i], v6).accept())
		t.add(rule{}.state(expr.CtStateBitESTABLISHED).in(source, led[i], v6).accept())
	}
	t.base("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, *nftables.ChainPriorityFilter)

	// A table of IPv4 alone: nat in inet tables came with Linux 5.2.
	t.replace(nftables.TableFamilyIPv4)
	t.base("output", nftables.ChainTypeNAT, nftables.ChainHookOutput, -150) // before Docker's own rules, at -100
	for _, l4 := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
		t.add(rule{}.protocol(l4).port(destination, 53).with(destination.load(false),
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: engineDNS.AsSlice()},
			&expr.Immediate{Register: 1, Data: loopback.AsSlice()},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1}))
	}
	return t.err
}

// replace begins a table afresh. It is added first so that it can be deleted whether or not there was one.
func (t *tables) replace(family nftables.TableFamily) {
	t.table = &nftables.Table{Name: tableName, Family: family}
	t.conn.AddTable(t.table)
	t.conn.DelTable(t.table)
	t.conn.AddTable(t.table)
}

// base begins a chain. What no rule of a filter accepts is dropped.
func (t *tables) base(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority nftables.ChainPriority) {
	policy := nftables.ChainPolicyDrop
	if kind == nftables.ChainTypeNAT {
		policy = nftables.ChainPolicyAccept
	}
	t.chain = t.conn.AddChain(&nftables.Chain{
		Name: name, Table: t.table, Type: kind, Hooknum: hook, Priority: &priority, Policy: &policy,
	})
}

func (t *tables) add(r rule) {
	t.conn.AddRule(&nftables.Rule{Table: t.table, Chain: t.chain, Exprs: r})
}

func (t *tables) set(name string, ipv6 bool, s nftables.Set, elements []nftables.SetElement) *nftables.Set {
	s.Table, s.Name, s.KeyType = t.table, setName(name, ipv6), nftables.TypeIPAddr
	if ipv6 {
		s.KeyType = nftables.TypeIP6Addr
	}
	first := elements[:min(2*chunk, len(elements))]
	err := t.conn.AddSet(&s, first)
	for rest := elements[len(first):]; len(rest) > 0 && err == nil; {
		n := min(2*chunk, len(rest))
		err = t.conn.SetAddElements(&s, rest[:n])
		rest = rest[n:]
	}
	if t.err == nil {
		t.err = err
	}
	return &s
}

func setName(name string, ipv6 bool) string {
	if ipv6 {
		return name + "6"
	}
	return name + "4"
}

func mineAt(o own, ipv6 bool) []netip.Addr {
	var mine []netip.Addr
	for _, a := range o.addresses {
		if a.Is6() == ipv6 {
			mine = append(mine, a)
		}
	}
	return mine
}

func singles(addresses []netip.Addr) []nftables.SetElement {
	var elements []nftables.SetElement
	for _, a := range addresses {
		elements = append(elements, nftables.SetElement{Key: a.AsSlice()})
	}
	return elements
}

// intervals are half open in the kernel; the last of a family has no end.
func intervals(set netrules.Set) []nftables.SetElement {
	var elements []nftables.SetElement
	for _, r := range set {
		elements = append(elements, nftables.SetElement{Key: r.First.AsSlice()})
		if end := r.Last.Next(); end.IsValid() {
			elements = append(elements, nftables.SetElement{Key: end.AsSlice(), IntervalEnd: true})
		}
	}
	return elements
}

func timed(addresses []netip.Addr) []nftables.SetElement {
	elements := singles(addresses)
	for i := range elements {
		elements[i].Timeout = Lifetime
	}
	return elements
}

func resolvedSet() nftables.Set {
	return nftables.Set{HasTimeout: true, Timeout: Lifetime.Truncate(time.Second), Dynamic: true, Size: maxResolved}
}
