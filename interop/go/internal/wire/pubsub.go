package wire

import (
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/proto"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
)

// MaxMessage is the most bytes of a pubsub message.
const MaxMessage = 1 << 20

// MessageID identifies a pubsub message: the bytes of its source, then those
// of its sequence number.
func MessageID(m *pb.Message) string {
	return string(m.GetFrom()) + string(m.GetSeqno())
}

// SignMessage makes a pubsub message as strict signing wants it, whatever its
// parts are.
func SignMessage(key crypto.PrivKey, topic string, seqno, data []byte) (*pb.Message, error) {
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, err
	}
	m := &pb.Message{From: []byte(id), Data: data, Seqno: seqno, Topic: &topic}
	signed, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	m.Signature, err = key.Sign(append([]byte("libp2p-pubsub:"), signed...))
	return m, err
}
