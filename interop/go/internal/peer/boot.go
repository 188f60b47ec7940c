package peer

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"

	"github.com/wetware/casm/interop/go/internal/wire"
)

// bootService answers the boot packets of others, and finds peers.
type bootService struct {
	node    *Node
	mu      sync.Mutex
	sockets []*bootSocket
}

func newBootService(n *Node) (*bootService, error) {
	b := &bootService{node: n}
	for _, text := range n.config.Serve {
		if err := b.serve(text); err != nil {
			b.close()
			return nil, err
		}
	}
	return b, nil
}

func (b *bootService) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.sockets {
		s.close()
	}
}

// serve answers on a boot address for as long as the node lives.
func (b *bootService) serve(text string) error {
	addr, err := parseBootAddr(text)
	if err != nil {
		return err
	}
	var socket *bootSocket
	switch addr.kind {
	case crawlAddr:
		socket, err = listenFirst(addr)
	case surveyAddr, gradualAddr:
		socket, err = joinGroup(addr)
	default:
		err = fmt.Errorf("boot address %q is nothing to answer on", text)
	}
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.sockets = append(b.sockets, socket)
	b.mu.Unlock()
	b.node.out.Emit("serving", Fields{"addr": text, "socket": socket.conn.LocalAddr().String()})
	b.node.spawn(func(ctx context.Context) {
		socket.receive(func(p *wire.Packet, size int, from net.Addr, err error) {
			b.report(p, size, from, err)
			if err == nil && p.Kind != wire.Response {
				b.answer(ctx, socket, p, from)
			}
		})
	})
	return nil
}

// report tells of a packet that was received.
func (b *bootService) report(p *wire.Packet, size int, from net.Addr, err error) {
	fields := Fields{"source": from.String(), "bytes": size}
	if err != nil {
		fields["refused"] = err.Error()
	} else {
		fields["kind"], fields["peer"] = p.Kind, p.Peer.String()
		fields["namespace"] = p.Namespace
		fields["distance"], fields["addrs"] = p.Distance, addrStrings(p.Addrs)
	}
	if err == nil && p.Peer == b.node.host.ID() {
		return
	}
	b.node.out.Emit("boot-packet", fields)
}

func (b *bootService) answer(ctx context.Context, s *bootSocket, p *wire.Packet, from net.Addr) {
	self := b.node.host.ID()
	if p.Peer == self || p.Namespace != b.node.config.Namespace {
		return
	}
	if p.Kind == wire.Survey && !wire.Near(self, p.Peer, p.Distance) {
		return
	}
	// A crawl is answered where it came from, a survey in the group.
	if (p.Kind == wire.Survey) != (s.group != nil) {
		return
	}
	to := from
	if s.group != nil {
		to = s.group
	}
	response := wire.Packet{
		Kind: wire.Response, Peer: self, Namespace: p.Namespace, Addrs: b.node.host.Addrs(),
	}
	if err := s.send(ctx, b.node.config.Key, &response, to); err != nil && ctx.Err() == nil {
		b.node.out.Error("Io", err)
	}
}

// findOptions are those of one search.
type findOptions struct {
	limit    int
	timeout  time.Duration
	distance uint8
	// tick is the first pause of a gradual survey.
	tick time.Duration
	// each is told of every peer as it is found.
	each func(peer.AddrInfo)
}

// find looks for peers at a boot address, and gives those that answered.
func (b *bootService) find(ctx context.Context, text string, o findOptions) ([]peer.AddrInfo, error) {
	addr, err := parseBootAddr(text)
	if err != nil {
		return nil, err
	}
	if addr.kind == staticAddr {
		b.found(text, *addr.info, o)
		return []peer.AddrInfo{*addr.info}, nil
	}
	var socket *bootSocket
	if addr.kind == crawlAddr {
		socket, err = listenAny(addr)
	} else {
		socket, err = joinGroup(addr)
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	go func() {
		var err error
		if addr.kind == crawlAddr {
			err = b.crawl(ctx, socket, addr)
		} else {
			err = b.survey(ctx, socket, addr, o)
		}
		if err != nil && ctx.Err() == nil {
			b.node.out.Error("Io", err)
		}
	}()
	go func() {
		<-ctx.Done()
		socket.close()
	}()

	var infos []peer.AddrInfo
	seen := make(map[peer.ID]bool)
	socket.receive(func(p *wire.Packet, size int, from net.Addr, err error) {
		b.report(p, size, from, err)
		if err != nil || p.Kind != wire.Response || p.Namespace != b.node.config.Namespace ||
			p.Peer == b.node.host.ID() || seen[p.Peer] || ctx.Err() != nil {
			return
		}
		seen[p.Peer] = true
		infos = append(infos, peer.AddrInfo{ID: p.Peer, Addrs: p.Addrs})
		b.found(text, infos[len(infos)-1], o)
		if o.limit > 0 && len(infos) >= o.limit {
			cancel()
		}
	})
	return infos, nil
}

func (b *bootService) found(source string, info peer.AddrInfo, o findOptions) {
	b.node.out.Emit("peers-found", Fields{
		"source": source, "peer": info.ID.String(), "addrs": addrStrings(info.Addrs),
	})
	if o.each != nil {
		o.each(info)
	}
}

// crawl asks every address once.
func (b *bootService) crawl(ctx context.Context, s *bootSocket, addr bootAddr) error {
	targets, err := addr.targets()
	if err != nil {
		return err
	}
	request := wire.Packet{
		Kind: wire.Request, Peer: b.node.host.ID(), Namespace: b.node.config.Namespace,
	}
	var failed []string
	for _, to := range targets {
		// One address that cannot be reached ends no crawl.
		if err := s.send(ctx, b.node.config.Key, &request, net.UDPAddrFromAddrPort(to)); err != nil {
			failed = append(failed, err.Error())
		}
	}
	if len(failed) == len(targets) && len(failed) > 0 {
		return fmt.Errorf("no request could be sent: %s", strings.Join(failed[:1], ""))
	}
	return nil
}

// survey asks the group: once, or with a growing distance.
func (b *bootService) survey(ctx context.Context, s *bootSocket, addr bootAddr, o findOptions) error {
	survey := wire.Packet{
		Kind: wire.Survey, Peer: b.node.host.ID(), Namespace: b.node.config.Namespace,
		Distance: o.distance,
	}
	if addr.kind == surveyAddr {
		return s.send(ctx, b.node.config.Key, &survey, s.group)
	}
	survey.Distance = 0
	for tick := o.tick; ; tick = min(tick*3/2, o.tick*18) {
		if err := s.send(ctx, b.node.config.Key, &survey, s.group); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(tick):
		}
		if survey.Distance < 255 {
			survey.Distance++
		}
	}
}

// limiter is the pace at which a socket sends.
func limiter(multicast bool) *rate.Limiter {
	if multicast {
		return rate.NewLimiter(16, 8)
	}
	return rate.NewLimiter(32, 8)
}
