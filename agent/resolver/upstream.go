package resolver

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	attemptTime = 1500 * time.Millisecond
	rounds      = 2
	maxAnswer   = 16 << 10 // bytes of an answer by TCP
	maxStray    = 16       // messages at one socket that are not the answer
	maxRecords  = 64       // kept of an answer
	maxAliases  = 16       // followed in an answer
)

var errNoUpstream = errors.New("no upstream resolver is known")

// exchange asks one upstream after another, twice. An upstream that can't tell is not the last word while there are others.
func (s *Server) exchange(ctx context.Context, upstreams []netip.AddrPort, q dnsmessage.Question) (
	header dnsmessage.Header, answers []dnsmessage.Resource, err error,
) {
	err = errNoUpstream
	told := false
	for range rounds {
		for _, up := range upstreams {
			h, a, e := s.ask(ctx, up, q)
			switch {
			case e != nil:
				if !told {
					err = e
				}
			case h.RCode == dnsmessage.RCodeSuccess || h.RCode == dnsmessage.RCodeNameError:
				return h, a, nil
			default:
				header, err, told = h, nil, true
			}
			if ctx.Err() != nil {
				return header, nil, err
			}
		}
		if told {
			break
		}
	}
	return header, nil, err
}

// ask asks one upstream by UDP, and again by TCP if the answer doesn't fit.
func (s *Server) ask(ctx context.Context, up netip.AddrPort, q dnsmessage.Question) (dnsmessage.Header, []dnsmessage.Resource, error) {
	h, a, err := s.askBy(ctx, "udp", up, q)
	if err == nil && h.Truncated {
		return s.askBy(ctx, "tcp", up, q)
	}
	return h, a, err
}

func (s *Server) askBy(ctx context.Context, network string, up netip.AddrPort, q dnsmessage.Question) (
	dnsmessage.Header, []dnsmessage.Resource, error,
) {
	var none dnsmessage.Header
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	id, query, err := packQuery(q)
	if err != nil {
		return none, nil, err
	}
	conn, err := s.Dial(ctx, network, up.String())
	if err != nil {
		return none, nil, fmt.Errorf("ask %s: %w", up, err)
	}
	defer conn.Close() //nolint:errcheck // one answer is read from it
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return none, nil, err
	}
	stop := context.AfterFunc(ctx, func() {
		conn.SetDeadline(time.Unix(1, 0)) //nolint:errcheck // the deadline from before holds then
	})
	defer stop()
	if network == "tcp" {
		if err := writeMessage(conn, query); err != nil {
			return none, nil, fmt.Errorf("ask %s: %w", up, err)
		}
		message, err := readMessage(conn, maxAnswer)
		if err != nil {
			return none, nil, fmt.Errorf("ask %s: %w", up, err)
		}
		return parseAnswer(message, id, q)
	}
	if _, err := conn.Write(query); err != nil {
		return none, nil, fmt.Errorf("ask %s: %w", up, err)
	}
	buffer := make([]byte, 4096)
	for range maxStray {
		n, err := conn.Read(buffer)
		if err != nil {
			return none, nil, fmt.Errorf("ask %s: %w", up, err)
		}
		h, a, err := parseAnswer(buffer[:n], id, q)
		if err == nil {
			return h, a, nil
		}
	}
	return none, nil, fmt.Errorf("ask %s: too many answers to other questions", up)
}

func packQuery(q dnsmessage.Question) (id uint16, query []byte, err error) {
	var random [2]byte
	rand.Read(random[:]) // it never fails
	id = binary.BigEndian.Uint16(random[:])
	var header dnsmessage.ResourceHeader
	if err := header.SetEDNS0(maxUDP, dnsmessage.RCodeSuccess, false); err != nil {
		return 0, nil, err
	}
	message := dnsmessage.Message{
		Header:      dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions:   []dnsmessage.Question{q},
		Additionals: []dnsmessage.Resource{{Header: header, Body: &dnsmessage.OPTResource{}}},
	}
	query, err = message.Pack()
	return id, query, err
}

// parseAnswer reads the answers of the message if it is one to the question. Records of kinds that are not passed on are left out.
func parseAnswer(message []byte, id uint16, q dnsmessage.Question) (dnsmessage.Header, []dnsmessage.Resource, error) {
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err != nil {
		return h, nil, err
	}
	if !h.Response || h.ID != id {
		return h, nil, errors.New("an answer to another question")
	}
	asked, err := p.AllQuestions()
	if err != nil {
		return h, nil, err
	}
	if len(asked) != 1 || asked[0].Type != q.Type || asked[0].Class != q.Class ||
		!strings.EqualFold(asked[0].Name.String(), q.Name.String()) {
		return h, nil, errors.New("an answer to another question")
	}
	var answers []dnsmessage.Resource
	for len(answers) < 2*maxRecords {
		rh, err := p.AnswerHeader()
		if err == dnsmessage.ErrSectionDone { //nolint:errorlint // the package never wraps it
			break
		}
		if err != nil {
			return h, nil, err
		}
		if rh.Type != q.Type && rh.Type != dnsmessage.TypeCNAME {
			if err := p.SkipAnswer(); err != nil {
				return h, nil, err
			}
			continue
		}
		r, err := p.Answer()
		if err != nil {
			if h.Truncated {
				break
			}
			return h, nil, err
		}
		answers = append(answers, r)
	}
	return h, answers, nil
}
