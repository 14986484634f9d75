package firewall

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// rule is expressions one after another; each match leaves the packet to the next rule when it doesn't hold.
type rule []expr.Any

func (r rule) with(more ...expr.Any) rule { return append(r[:len(r):len(r)], more...) }

func (r rule) meta(key expr.MetaKey, op expr.CmpOp, value []byte) rule {
	return r.with(&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: value})
}

// outLoopback and inLoopback match the interface by its number, which is 1 in every namespace: names can be changed.
func (r rule) outLoopback() rule {
	return r.meta(expr.MetaKeyOIF, expr.CmpOpEq, binaryutil.NativeEndian.PutUint32(1))
}

func (r rule) inLoopback() rule {
	return r.meta(expr.MetaKeyIIF, expr.CmpOpEq, binaryutil.NativeEndian.PutUint32(1))
}

func (r rule) marked() rule {
	return r.meta(expr.MetaKeyMARK, expr.CmpOpEq, binaryutil.NativeEndian.PutUint32(mark))
}

func (r rule) protocol(l4 byte) rule { return r.meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{l4}) }

func (r rule) family(ipv6 bool) rule {
	if ipv6 {
		return r.meta(expr.MetaKeyNFPROTO, expr.CmpOpEq, []byte{unix.NFPROTO_IPV6})
	}
	return r.meta(expr.MetaKeyNFPROTO, expr.CmpOpEq, []byte{unix.NFPROTO_IPV4})
}

// side is a packet's source or destination.
type side bool

const (
	source      side = false
	destination side = true
)

// load puts an address of the packet into register 1. The family must have been matched.
func (s side) load(ipv6 bool) expr.Any {
	p := &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4}
	if ipv6 {
		p.Offset, p.Len = 8, 16
	}
	if s == destination {
		p.Offset += p.Len
	}
	return p
}

func (r rule) address(s side, a netip.Addr) rule {
	return r.family(a.Is6()).with(s.load(a.Is6()), &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: a.AsSlice()})
}

// fromLoopback matches sources in 127.0.0.0/8.
func (r rule) fromLoopback() rule {
	return r.family(false).with(source.load(false),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: []byte{255, 0, 0, 0}, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{127, 0, 0, 0}})
}

func (r rule) in(s side, set *nftables.Set, ipv6 bool) rule {
	return r.family(ipv6).with(s.load(ipv6), &expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID})
}

func (r rule) notIn(s side, set *nftables.Set, ipv6 bool) rule {
	return r.family(ipv6).with(s.load(ipv6), &expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID, Invert: true})
}

// port matches the port of TCP and UDP, which must have been matched.
func (r rule) port(s side, port uint16) rule {
	p := &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Len: 2}
	if s == destination {
		p.Offset = 2
	}
	return r.with(p, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, port)})
}

// state matches connections that have any of the states.
func (r rule) state(bits uint32) rule {
	return r.with(&expr.Ct{Register: 1, Key: expr.CtKeySTATE},
		&expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)})
}

// tcpReset matches TCP segments that reset; only the kernel makes them.
func (r rule) tcpReset() rule {
	return r.protocol(unix.IPPROTO_TCP).with(
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{4}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{0}})
}

// neighbour matches IPv6's neighbour discovery of one type, which a router never forwards (hop limit 255).
func (r rule) neighbour(kind byte) rule {
	return r.family(true).protocol(unix.IPPROTO_ICMPV6).with(
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 7, Len: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{255}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Len: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{kind}})
}

// options matches IPv4 with options, by which a sender names further stations of the way.
func (r rule) options() rule {
	return r.family(false).with(
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Len: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{0x45}})
}

// extensions matches IPv6 with extension headers, which do that too, and protocols that no rule admits.
func (r rule) extensions() rule {
	r = r.family(true).with(&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 6, Len: 1})
	for _, l4 := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMPV6} {
		r = r.with(&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{l4}})
	}
	return r
}

// refresh gives the element of the packet's destination its whole lifetime again.
func (r rule) refresh(set *nftables.Set) rule {
	return r.with(&expr.Dynset{
		SrcRegKey: 1, SetName: set.Name, SetID: set.ID, Operation: unix.NFT_DYNSET_OP_UPDATE, Timeout: Lifetime,
	})
}

func (r rule) accept() rule { return r.with(&expr.Verdict{Kind: expr.VerdictAccept}) }
func (r rule) drop() rule   { return r.with(&expr.Verdict{Kind: expr.VerdictDrop}) }
func (r rule) reset() rule {
	return r.protocol(unix.IPPROTO_TCP).with(&expr.Reject{Type: unix.NFT_REJECT_TCP_RST})
}

func (r rule) prohibit() rule {
	return r.with(&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED})
}
