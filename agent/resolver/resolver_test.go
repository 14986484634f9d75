package resolver

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/ds-sandbox/ds-sandbox/agent/netrules"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate is a firewall that only remembers.
type gate struct {
	mu       sync.Mutex
	rules    netrules.Rules
	admitted map[netip.Addr]bool
	err      error
}

func (g *gate) Rules() netrules.Rules {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.rules
}

func (g *gate) Admit(name string, addresses []netip.Addr) (may []netip.Addr, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range addresses {
		if g.rules.Leads(name, a) && !a.Is4In6() {
			g.admitted[a] = true
			may = append(may, a)
		}
	}
	return may, g.err
}

// upstream answers by a function, on loopback.
type upstream struct {
	udp    net.PacketConn
	tcp    net.Listener
	answer func(q dnsmessage.Message, network string) []byte
	wg     sync.WaitGroup
}

func newUpstream(t *testing.T, answer func(q dnsmessage.Message, network string) []byte) netip.AddrPort {
	t.Helper()
	u := &upstream{answer: answer}
	var err error
	u.udp, err = net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	u.tcp, err = net.Listen("tcp", u.udp.LocalAddr().String())
	require.NoError(t, err)
	u.wg.Go(func() {
		b := make([]byte, 4096)
		for {
			n, from, err := u.udp.ReadFrom(b)
			if err != nil {
				return
			}
			var q dnsmessage.Message
			if q.Unpack(b[:n]) == nil {
				u.udp.WriteTo(u.answer(q, "udp"), from) //nolint:errcheck // a test's
			}
		}
	})
	u.wg.Go(func() {
		for {
			c, err := u.tcp.Accept()
			if err != nil {
				return
			}
			var q dnsmessage.Message
			if b, err := readMessage(c, 4096); err == nil && q.Unpack(b) == nil {
				writeMessage(c, u.answer(q, "tcp")) //nolint:errcheck // a test's
			}
			c.Close() //nolint:errcheck // a test's
		}
	})
	t.Cleanup(func() {
		u.udp.Close() //nolint:errcheck // a test's
		u.tcp.Close() //nolint:errcheck // a test's
		u.wg.Wait()
	})
	return u.udp.LocalAddr().(*net.UDPAddr).AddrPort()
}

// zone is an upstream's answers: "name" to addresses and "=alias".
func zone(records map[string]string) func(dnsmessage.Message, string) []byte {
	return func(q dnsmessage.Message, _ string) []byte {
		q.Response, q.Additionals = true, nil
		question := q.Questions[0]
		if _, ok := records[plain(question.Name)]; !ok {
			q.RCode = dnsmessage.RCodeNameError
		}
		todo := []string{plain(question.Name)}
		for steps := 0; len(todo) > 0 && steps < 20; steps++ { // aliases may go in circles
			name := todo[0]
			todo = todo[1:]
			for _, value := range strings.Fields(records[name]) {
				h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name + "."), Class: dnsmessage.ClassINET, TTL: 86400}
				var body dnsmessage.ResourceBody
				if alias, ok := strings.CutPrefix(value, "="); ok {
					h.Type, body = dnsmessage.TypeCNAME, &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(alias + ".")}
					todo = append(todo, alias)
				} else if a := netip.MustParseAddr(value); a.Is4() {
					h.Type, body = dnsmessage.TypeA, &dnsmessage.AResource{A: a.As4()}
				} else {
					h.Type, body = dnsmessage.TypeAAAA, &dnsmessage.AAAAResource{AAAA: a.As16()}
				}
				if h.Type == question.Type || h.Type == dnsmessage.TypeCNAME {
					q.Answers = append([]dnsmessage.Resource{{Header: h, Body: body}}, q.Answers...) // in no helpful order
				}
			}
		}
		b, err := q.Pack()
		if err != nil {
			panic(err)
		}
		return b
	}
}

// start is a server on loopback, and a resolver of Go's that asks it.
func start(t *testing.T, rules string, upstreams ...netip.AddrPort) (*Server, *gate, *net.Resolver) {
	t.Helper()
	g := &gate{admitted: map[netip.Addr]bool{}}
	require.NoError(t, json.Unmarshal([]byte(rules), &g.rules))
	g.rules.Upstreams = upstreams
	var d net.Dialer
	s := &Server{Gate: g, Dial: d.DialContext}
	ctx, cancel := context.WithCancel(context.Background())
	require.NoError(t, Listen(ctx, "127.0.0.1:0", s))
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return s, g, &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return d.DialContext(ctx, network, s.Addr().String())
	}}
}

const some = `{"names": {"domains": ["a.example", "*.b.example"]}, "resolvable": ["200.0.0.0-210.0.0.0", "2600::-2700::"]}`

func look(t *testing.T, r *net.Resolver, name string) []string {
	t.Helper()
	addresses, err := r.LookupHost(t.Context(), name+".")
	if err != nil {
		var dns *net.DNSError
		require.ErrorAs(t, err, &dns)
		require.True(t, dns.IsNotFound, "%v", err)
	}
	return addresses
}

func TestListedNamesAreAnsweredAndAdmitted(t *testing.T) {
	up := newUpstream(t, zone(map[string]string{
		"a.example": "203.0.113.1 2600::1", "x.b.example": "=cdn.example", "cdn.example": "=edge.example", "edge.example": "203.0.113.2",
		"b.example": "203.0.113.3", "c.example": "203.0.113.4",
	}))
	_, g, r := start(t, some, up)
	require.ElementsMatch(t, []string{"203.0.113.1", "2600::1"}, look(t, r, "a.example"))
	require.ElementsMatch(t, []string{"203.0.113.1", "2600::1"}, look(t, r, "A.eXample"))
	require.Equal(t, []string{"203.0.113.2"}, look(t, r, "x.b.example"))
	for _, name := range []string{"b.example", "c.example", "cdn.example", "nothing.b.example", "1.113.0.203.in-addr.arpa"} {
		require.Empty(t, look(t, r, name), name)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	require.Len(t, g.admitted, 3)
}

func TestRebindingIsRefused(t *testing.T) {
	up := newUpstream(t, zone(map[string]string{
		"a.example": "10.0.0.1 ::ffff:10.0.0.1 127.0.0.1 169.254.169.254", "x.b.example": "10.0.0.1 203.0.113.2", "y.b.example": "=a.example",
	}))
	_, g, r := start(t, some, up)
	require.Empty(t, look(t, r, "a.example"))
	require.Empty(t, look(t, r, "y.b.example"))
	require.Equal(t, []string{"203.0.113.2"}, look(t, r, "x.b.example"))
	g.mu.Lock()
	defer g.mu.Unlock()
	require.Len(t, g.admitted, 1)
}

func TestAllNamesButLocalOnes(t *testing.T) {
	up := newUpstream(t, zone(map[string]string{
		"a.example": "203.0.113.1", "db.internal": "203.0.113.2", "intranet": "203.0.113.3", "rebind.example": "10.0.0.1",
	}))
	_, _, r := start(t, `{"names": {"all": true}, "admitted": ["200.0.0.0-210.0.0.0"]}`, up)
	require.Equal(t, []string{"203.0.113.1"}, look(t, r, "a.example"))
	for _, name := range []string{"db.internal", "intranet", "rebind.example"} {
		require.Empty(t, look(t, r, name), name)
	}
	require.ElementsMatch(t, []string{"127.0.0.1", "::1"}, look(t, r, "localhost"))
}

func TestRecordsThatWereNotAskedForAreLeftOut(t *testing.T) {
	name := dnsmessage.MustNewName("other.example.")
	up := newUpstream(t, func(q dnsmessage.Message, n string) []byte {
		var m dnsmessage.Message
		if err := m.Unpack(zone(map[string]string{"a.example": "203.0.113.1"})(q, n)); err != nil {
			panic(err)
		}
		h := dnsmessage.ResourceHeader{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 9}
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: [4]byte{203, 0, 113, 99}}})
		m.Additionals = m.Answers
		b, _ := m.Pack()
		return b
	})
	_, g, r := start(t, some, up)
	require.Equal(t, []string{"203.0.113.1"}, look(t, r, "a.example"))
	g.mu.Lock()
	defer g.mu.Unlock()
	require.Len(t, g.admitted, 1)
}

func TestLargeAnswersComeByTCP(t *testing.T) {
	var many []string
	for i := range 60 {
		many = append(many, fmt.Sprintf("2600::%x", i))
	}
	full := zone(map[string]string{"a.example": strings.Join(many, " ")})
	up := newUpstream(t, func(q dnsmessage.Message, network string) []byte {
		b := full(q, network)
		if network == "udp" {
			q.Response, q.Truncated, q.Additionals = true, true, nil
			b, _ = q.Pack()
		}
		return b
	})
	_, _, r := start(t, some, up)
	require.Len(t, look(t, r, "a.example"), 60)
}

func TestNextUpstreamIsAskedWhenOneCantTell(t *testing.T) {
	broken := newUpstream(t, func(q dnsmessage.Message, _ string) []byte {
		q.Response, q.RCode, q.Additionals = true, dnsmessage.RCodeServerFailure, nil
		b, _ := q.Pack()
		return b
	})
	good := newUpstream(t, zone(map[string]string{"a.example": "203.0.113.1"}))
	_, _, r := start(t, some, broken, good)
	require.Equal(t, []string{"203.0.113.1"}, look(t, r, "a.example"))
}

func TestForgedAnswersAreWaitedOut(t *testing.T) {
	good := zone(map[string]string{"a.example": "203.0.113.1"})
	forged := zone(map[string]string{"a.example": "203.0.113.66"})
	_, query, err := packQuery(dnsmessage.Question{Name: dnsmessage.MustNewName("a.example."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET})
	require.NoError(t, err)
	var q dnsmessage.Message
	require.NoError(t, q.Unpack(query))
	_, _, err = parseAnswer(good(q, ""), q.ID, q.Questions[0])
	require.NoError(t, err)
	_, _, err = parseAnswer(forged(q, ""), q.ID+1, q.Questions[0])
	require.Error(t, err)
	other := q.Questions[0]
	other.Name = dnsmessage.MustNewName("b.example.")
	_, _, err = parseAnswer(good(q, ""), q.ID, other)
	require.Error(t, err)
}

func TestSilentUpstreamEndsInAnErrorInTime(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close() //nolint:errcheck // a test's
	s, _, _ := start(t, some, silent.LocalAddr().(*net.UDPAddr).AddrPort())
	begun := time.Now()
	m := ask(t, s, "a.example.", dnsmessage.TypeA)
	require.Equal(t, dnsmessage.RCodeServerFailure, m.RCode)
	require.Less(t, time.Since(begun), queryTime+time.Second)
}

func ask(t *testing.T, s *Server, name string, kind dnsmessage.Type) dnsmessage.Message {
	t.Helper()
	_, query, err := packQuery(dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET})
	require.NoError(t, err)
	var m dnsmessage.Message
	require.NoError(t, m.Unpack(s.answer(t.Context(), query, true)))
	return m
}

func TestWhyIsSaid(t *testing.T) {
	up := newUpstream(t, zone(map[string]string{"a.example": "10.0.0.1"}))
	s, _, _ := start(t, some, up)
	m := ask(t, s, "c.example.", dnsmessage.TypeA)
	require.Equal(t, dnsmessage.RCodeNameError, m.RCode)
	option := m.Additionals[0].Body.(*dnsmessage.OPTResource).Options[0]
	require.Equal(t, "\x00\x0fnot admitted by the sandbox's network rules", string(option.Data))
	m = ask(t, s, "a.example.", dnsmessage.TypeA)
	require.Contains(t, string(m.Additionals[0].Body.(*dnsmessage.OPTResource).Options[0].Data), "may not be reached")
	require.Empty(t, ask(t, s, "a.example.", typeHTTPS).Answers)
	require.Equal(t, dnsmessage.RCodeNotImplemented, ask(t, s, "a.example.", dnsmessage.TypeAXFR).RCode)
}

func TestTimesToLiveAreShorterThanAdmission(t *testing.T) {
	up := newUpstream(t, zone(map[string]string{"a.example": "203.0.113.1"}))
	s, _, _ := start(t, some, up)
	require.Equal(t, uint32(MaxTTL/time.Second), ask(t, s, "a.example.", dnsmessage.TypeA).Answers[0].Header.TTL)
}

func TestAnswerThatCantBeAdmittedIsNone(t *testing.T) {
	up := newUpstream(t, zone(map[string]string{"a.example": "203.0.113.1"}))
	s, g, _ := start(t, some, up)
	g.mu.Lock()
	g.err = fmt.Errorf("full")
	g.mu.Unlock()
	m := ask(t, s, "a.example.", dnsmessage.TypeA)
	require.Equal(t, dnsmessage.RCodeServerFailure, m.RCode)
	require.Empty(t, m.Answers)
}

func TestFloodsAreBounded(t *testing.T) {
	var b bucket
	now := time.Now()
	passed := 0
	for range 10 * maxPerSecond {
		if b.take(now) {
			passed++
		}
	}
	require.Equal(t, maxPerSecond, passed)
	require.True(t, b.take(now.Add(time.Second)))

	s, _, _ := start(t, some)
	var idle []net.Conn
	for range maxConnections {
		c, err := net.Dial("tcp", s.Addr().String())
		require.NoError(t, err)
		idle = append(idle, c)
	}
	c, err := net.Dial("tcp", s.Addr().String())
	require.NoError(t, err)
	require.NoError(t, c.SetDeadline(time.Now().Add(3*time.Second)))
	_, err = c.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	for _, c := range append(idle, c) {
		require.NoError(t, c.Close())
	}
}

func seeds(f *testing.F) {
	q := dnsmessage.Question{Name: dnsmessage.MustNewName("a.example."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	_, query, err := packQuery(q)
	require.NoError(f, err)
	f.Add(query)
	var m dnsmessage.Message
	require.NoError(f, m.Unpack(query))
	m.ID = 7
	f.Add(zone(map[string]string{"a.example": "=b.example 203.0.113.1", "b.example": "=a.example"})(m, ""))
}

// FuzzQuery: whatever a client sends, the answer is none or a message that answers it and fits.
func FuzzQuery(f *testing.F) {
	seeds(f)
	g := &gate{admitted: map[netip.Addr]bool{}, rules: netrules.Rules{Names: netrules.Names{All: true}}}
	s := &Server{Gate: g}
	f.Fuzz(func(t *testing.T, query []byte) {
		answer := s.answer(t.Context(), query, true)
		if answer == nil {
			return
		}
		require.LessOrEqual(t, len(answer), maxUDP)
		var p dnsmessage.Parser
		h, err := p.Start(answer)
		require.NoError(t, err)
		require.True(t, h.Response)
		require.Equal(t, query[:2], answer[:2])
	})
}

// FuzzAnswer: whatever an upstream sends, only addresses that may be reached come through, in a message of ours.
func FuzzAnswer(f *testing.F) {
	seeds(f)
	g := &gate{admitted: map[netip.Addr]bool{}}
	require.NoError(f, json.Unmarshal([]byte(some), &g.rules))
	s := &Server{Gate: g}
	q := dnsmessage.Question{Name: dnsmessage.MustNewName("a.example."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	f.Fuzz(func(t *testing.T, message []byte) {
		_, answers, err := parseAnswer(message, 7, q)
		if err != nil {
			return
		}
		asked := &question{id: 1, q: q, name: "a.example", room: 512}
		records, _, err := s.admit(asked.name, belonging(asked, answers))
		require.NoError(t, err)
		packed := reply{records: records}.pack(asked)
		var m dnsmessage.Message
		require.NoError(t, m.Unpack(packed))
		for _, r := range m.Answers {
			if a, ok := addressOf(r); ok {
				require.True(t, g.rules.Resolvable.Contains(a))
			}
		}
	})
}
