package abuse

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

const (
	// connecting is how many identities connect at a time.
	connecting = 8
	// comeBack is how soon an identity that was turned away comes back.
	comeBack = 10 * time.Second
)

// connections has many identities connect from one address, and connect again
// when they are turned away, until the time is over.
func connections(ctx context.Context, p Params) (int, error) {
	until, cancel := context.WithTimeout(ctx, p.Hold)
	defer cancel()
	turn := make(chan struct{}, connecting)
	connect := func() (*attacker, error) {
		turn <- struct{}{}
		defer func() { <-turn }()
		if until.Err() != nil {
			return nil, until.Err()
		}
		return newAttacker(until, p)
	}
	return together(p.Times, func(int) error {
		var last error
		for until.Err() == nil {
			a, err := connect()
			last = err
			if err == nil {
				a.stay(until)
				a.close()
			}
			pause(until, comeBack)
		}
		return last
	})
}

// stay waits until the target has had enough, or the time is over.
func (a *attacker) stay(ctx context.Context) {
	for ctx.Err() == nil && a.host.Network().Connectedness(a.target) == network.Connected {
		pause(ctx, time.Second)
	}
}
