package peer

import (
	"context"
	"errors"
	"sync"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
)

var errNotJoined = errors.New("the topic is not joined")

// topics are those that a program has joined by their exact names.
type topics struct {
	mu     sync.Mutex
	joined map[string]*pubsub.Topic
}

// join joins a topic, and reports what comes on it.
func (n *Node) join(name string) error {
	n.topics.mu.Lock()
	defer n.topics.mu.Unlock()
	topic, err := n.pubsub.Join(name)
	if err != nil {
		return err
	}
	subscription, err := topic.Subscribe()
	if err != nil {
		return err
	}
	if n.topics.joined == nil {
		n.topics.joined = make(map[string]*pubsub.Topic)
	}
	n.topics.joined[name] = topic
	n.spawn(func(ctx context.Context) { n.listen(ctx, name, subscription) })
	return nil
}

func (n *Node) listen(ctx context.Context, name string, subscription *pubsub.Subscription) {
	for {
		m, err := subscription.Next(ctx)
		if err != nil {
			return
		}
		source, err := peer.IDFromBytes(m.Message.GetFrom())
		if err != nil || source == n.host.ID() {
			continue
		}
		n.out.Emit("message", Fields{
			"topic": name, "source": source.String(), "text": string(m.GetData()),
		})
	}
}

// say publishes on a topic that was joined.
func (n *Node) say(ctx context.Context, name, text string) error {
	n.topics.mu.Lock()
	topic := n.topics.joined[name]
	n.topics.mu.Unlock()
	if topic == nil {
		return errNotJoined
	}
	return topic.Publish(ctx, []byte(text))
}
