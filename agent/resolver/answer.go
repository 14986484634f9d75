package resolver

import (
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/ds-sandbox/ds-sandbox/agent/netrules"
)

// MaxTTL is the longest time that an answer is said to hold; addresses stay admitted for longer (firewall.Lifetime).
const MaxTTL = 30 * time.Minute

// Extended errors (RFC 8914), which `dig` shows.
const (
	extendedBlocked  = 15
	extendedFiltered = 17
	extendedUpstream = 22
)

const typeSVCB, typeHTTPS dnsmessage.Type = 64, 65

// question is what a client asks.
type question struct {
	id        uint16
	recursion bool
	q         dnsmessage.Question
	name      string // lower case, without the dot at the end
	edns      bool
	room      int // for the answer, in bytes
}

// reply is what a client is told.
type reply struct {
	code     dnsmessage.RCode
	records  []dnsmessage.Resource
	extended uint16
	why      string
}

// answer is the message that answers query; nil where none is due.
func (s *Server) answer(ctx context.Context, query []byte, udp bool) []byte {
	ask, code, ok := parseQuery(query, udp)
	if !ok {
		return nil
	}
	r := reply{code: code}
	if code == dnsmessage.RCodeSuccess {
		ctx, cancel := context.WithTimeout(ctx, queryTime)
		defer cancel()
		r = s.resolve(ctx, ask)
	}
	return r.pack(ask)
}

// parseQuery understands a query or says what is wrong with it. Not ok is what gets no answer: no header, or an answer itself.
func parseQuery(query []byte, udp bool) (ask *question, code dnsmessage.RCode, ok bool) {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return nil, 0, false
	}
	ask = &question{id: h.ID, recursion: h.RecursionDesired, room: 65535}
	if udp {
		ask.room = 512
	}
	if h.OpCode != 0 {
		return ask, dnsmessage.RCodeNotImplemented, true
	}
	questions, err := p.AllQuestions()
	if err != nil || len(questions) != 1 {
		return ask, dnsmessage.RCodeFormatError, true
	}
	ask.q = questions[0]
	ask.name = plain(ask.q.Name)
	if p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return ask, dnsmessage.RCodeFormatError, true
	}
	for {
		h, err := p.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone { //nolint:errorlint // the package never wraps it
			break
		}
		if err != nil {
			return ask, dnsmessage.RCodeFormatError, true
		}
		if h.Type == dnsmessage.TypeOPT {
			ask.edns = true
			if udp {
				ask.room = min(max(512, int(h.Class)), maxUDP)
			}
		}
		if p.SkipAdditional() != nil {
			return ask, dnsmessage.RCodeFormatError, true
		}
	}
	if ask.q.Class != dnsmessage.ClassINET {
		return ask, dnsmessage.RCodeRefused, true
	}
	return ask, dnsmessage.RCodeSuccess, true
}

// plain is a name as rules are written. Names with other bytes than hosts and services have become one that no rule admits.
func plain(n dnsmessage.Name) string {
	name := strings.ToLower(strings.TrimSuffix(n.String(), "."))
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return ""
	}
	return name
}

// resolve asks upstream, if the name is admitted, and keeps of its answer what belongs to the question and may be reached.
func (s *Server) resolve(ctx context.Context, ask *question) reply {
	rules := s.Gate.Rules()
	blocked := reply{code: dnsmessage.RCodeNameError, extended: extendedBlocked, why: "not admitted by the sandbox's network rules"}
	if ask.name == "localhost" || strings.HasSuffix(ask.name, ".localhost") {
		return localhost(ask)
	}
	if address, reverse := netrules.Reverse(ask.name); reverse {
		if !address.IsValid() || ask.q.Type != dnsmessage.TypePTR || !rules.Names.All || !rules.Admitted.Contains(address) {
			return blocked
		}
	} else if !rules.Names.Admits(ask.name) {
		return blocked
	}
	switch ask.q.Type {
	case dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypeCNAME, dnsmessage.TypeMX, dnsmessage.TypeTXT, dnsmessage.TypeSRV,
		dnsmessage.TypeNS, dnsmessage.TypeSOA, dnsmessage.TypePTR:
	case typeSVCB, typeHTTPS: // they hold addresses, and clients do without
		return reply{}
	default:
		return reply{code: dnsmessage.RCodeNotImplemented}
	}
	header, answers, err := s.exchange(ctx, rules.Upstreams, ask.q)
	if err != nil {
		return reply{code: dnsmessage.RCodeServerFailure, extended: extendedUpstream, why: err.Error()}
	}
	if header.RCode != dnsmessage.RCodeSuccess {
		return reply{code: header.RCode}
	}
	records := belonging(ask, answers)
	records, refused, err := s.admit(ask.name, records)
	if err != nil {
		return reply{code: dnsmessage.RCodeServerFailure, extended: extendedFiltered, why: err.Error()}
	}
	r := reply{records: records}
	if refused > 0 && !slices.ContainsFunc(records, func(r dnsmessage.Resource) bool { return r.Header.Type == ask.q.Type }) {
		r.records, r.extended, r.why = nil, extendedFiltered, "its addresses may not be reached from the sandbox"
	}
	return r
}

// belonging are the records of the asked type of the name, or of what CNAMEs in the answer make of it. These come first, in order.
func belonging(ask *question, answers []dnsmessage.Resource) []dnsmessage.Resource {
	var kept []dnsmessage.Resource
	owner := ask.name
	for range maxAliases {
		i := slices.IndexFunc(answers, func(r dnsmessage.Resource) bool {
			return r.Header.Type == dnsmessage.TypeCNAME && plain(r.Header.Name) == owner
		})
		if i < 0 || ask.q.Type == dnsmessage.TypeCNAME {
			break
		}
		kept = append(kept, answers[i])
		owner = plain(answers[i].Body.(*dnsmessage.CNAMEResource).CNAME)
	}
	for _, r := range answers {
		if r.Header.Type == ask.q.Type && r.Header.Class == dnsmessage.ClassINET && plain(r.Header.Name) == owner && len(kept) < maxRecords {
			kept = append(kept, r)
		}
	}
	for i := range kept {
		kept[i].Header.TTL = min(kept[i].Header.TTL, uint32(MaxTTL/time.Second))
	}
	return kept
}

// admit lets what the records lead to be reached, and leaves out those that lead where one may not go.
func (s *Server) admit(name string, records []dnsmessage.Resource) (kept []dnsmessage.Resource, refused int, err error) {
	var addresses []netip.Addr
	for _, r := range records {
		if a, ok := addressOf(r); ok {
			addresses = append(addresses, a)
		}
	}
	if len(addresses) == 0 {
		return records, 0, nil
	}
	may, err := s.Gate.Admit(name, addresses)
	if err != nil {
		return nil, 0, err
	}
	for _, r := range records {
		if a, ok := addressOf(r); ok && !slices.Contains(may, a) {
			refused++
			continue
		}
		kept = append(kept, r)
	}
	return kept, refused, nil
}

func addressOf(r dnsmessage.Resource) (netip.Addr, bool) {
	switch body := r.Body.(type) {
	case *dnsmessage.AResource:
		return netip.AddrFrom4(body.A), true
	case *dnsmessage.AAAAResource:
		// IPv4 written as IPv6 stays as it is: the firewall gives it no way, and so it is refused.
		return netip.AddrFrom16(body.AAAA), true
	}
	return netip.Addr{}, false
}

// localhost needs no network.
func localhost(ask *question) reply {
	header := dnsmessage.ResourceHeader{Name: ask.q.Name, Type: ask.q.Type, Class: dnsmessage.ClassINET, TTL: 60}
	switch ask.q.Type {
	case dnsmessage.TypeA:
		return reply{records: []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}}
	case dnsmessage.TypeAAAA:
		return reply{records: []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AAAAResource{AAAA: [16]byte{15: 1}}}}}
	}
	return reply{}
}

// pack writes r. What doesn't fit by UDP is left out and said to be; clients ask again by TCP.
func (r reply) pack(ask *question) []byte {
	message := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: ask.id, Response: true, RecursionDesired: ask.recursion, RecursionAvailable: true, RCode: r.code,
		},
		Answers: r.records,
	}
	if ask.q.Name.Length > 0 {
		message.Questions = []dnsmessage.Question{ask.q}
	}
	if ask.edns {
		var header dnsmessage.ResourceHeader
		if header.SetEDNS0(maxUDP, r.code, false) == nil {
			body := &dnsmessage.OPTResource{}
			if r.extended != 0 {
				why := r.why[:min(len(r.why), 120)]
				body.Options = []dnsmessage.Option{{Code: 15, Data: append(binary.BigEndian.AppendUint16(nil, r.extended), why...)}}
			}
			message.Additionals = []dnsmessage.Resource{{Header: header, Body: body}}
		}
	}
	packed, err := message.Pack()
	if err == nil && len(packed) <= ask.room {
		return packed
	}
	message.Truncated, message.Answers = err == nil, nil
	if err != nil {
		message.RCode = dnsmessage.RCodeServerFailure
	}
	if packed, err = message.Pack(); err == nil && len(packed) > ask.room {
		message.Additionals = nil
		packed, err = message.Pack()
	}
	if err != nil {
		return nil
	}
	return packed
}
