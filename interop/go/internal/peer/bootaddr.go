package peer

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
)

type bootKind int

const (
	crawlAddr bootKind = iota
	surveyAddr
	gradualAddr
	staticAddr
)

// bootAddr is a parsed boot address.
type bootAddr struct {
	text  string
	kind  bootKind
	ip    netip.Addr
	port  int
	ports int
	bits  int
	iface *net.Interface
	info  *peer.AddrInfo
}

// maxTargets bounds one crawl.
const maxTargets = 1 << 16

func parseBootAddr(text string) (a bootAddr, err error) {
	a = bootAddr{text: text, ports: 1}
	if strings.Contains(text, "/p2p/") {
		a.kind = staticAddr
		a.info, err = peer.AddrInfoFromString(text)
		return a, err
	}
	bad := func(why any) (bootAddr, error) {
		return a, fmt.Errorf("boot address %q: %v", text, why)
	}
	parts := strings.Split(strings.TrimPrefix(text, "/"), "/")
	if len(parts) < 4 || (parts[0] != "ip4" && parts[0] != "ip6") || parts[2] != "udp" {
		return bad("write /ip4/ADDRESS/udp/PORT and what follows it")
	}
	if a.ip, err = netip.ParseAddr(parts[1]); err != nil {
		return bad(err)
	}
	if a.port, err = strconv.Atoi(parts[3]); err != nil {
		return bad(err)
	}
	a.bits = a.ip.BitLen()
	switch rest := parts[4:]; {
	case len(rest) == 0:
	case len(rest) == 2 && rest[0] == "cidr":
		if a.bits, err = strconv.Atoi(rest[1]); err != nil || a.bits < 0 || a.bits > a.ip.BitLen() {
			return bad("cidr is out of range")
		}
	case len(rest) == 2 && rest[0] == "ports":
		if a.ports, err = strconv.Atoi(rest[1]); err != nil || a.ports < 1 || a.port+a.ports > 65536 {
			return bad("ports is out of range")
		}
	case len(rest) >= 2 && rest[0] == "multicast" && (len(rest) == 2 || len(rest) == 3 && rest[2] == "survey"):
		a.kind = surveyAddr
		if len(rest) == 3 {
			a.kind = gradualAddr
		}
		if a.iface, err = net.InterfaceByName(rest[1]); err != nil {
			return bad(err)
		}
	default:
		return bad("cidr, ports or multicast may follow the port")
	}
	return a, nil
}

// targets gives the addresses of a crawl in random order, the network's and the
// broadcast address excepted.
func (a bootAddr) targets() ([]netip.AddrPort, error) {
	host := a.ip.BitLen() - a.bits
	if host > 16 {
		return nil, fmt.Errorf("boot address %q: a block of more than %d addresses", a.text, maxTargets)
	}
	block := netip.PrefixFrom(a.ip, a.bits).Masked()
	var targets []netip.AddrPort
	ip := block.Addr()
	for i := range 1 << host {
		edge := i == 0 || i == 1<<host-1
		if !edge || host < 2 || a.ip.Is6() {
			for p := range a.ports {
				targets = append(targets, netip.AddrPortFrom(ip, uint16(a.port+p)))
			}
		}
		ip = ip.Next()
	}
	rand.Shuffle(len(targets), func(i, j int) { targets[i], targets[j] = targets[j], targets[i] })
	return targets, nil
}
