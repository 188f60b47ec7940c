package wire

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/libp2p/go-libp2p/core/pnet"
	"golang.org/x/crypto/chacha20poly1305"
)

// A Go peer has no part in the discovery of a private cluster; that the vectors
// are as the specification says is checked all the same, by other people's
// cryptography.
func TestVectorsOfSealedPackets(t *testing.T) {
	file := vectors[struct {
		Secrets []struct {
			Secret data
			Files  []struct {
				Encoding string
				File     data
			}
		}
		Packets []struct {
			Name, Namespace                       string
			Secret, Key, ID, Nonce, Envelope, Hex data
		}
		Refused []refusal
	}](t, "sealed.json")
	for _, row := range some(t, file.Secrets) {
		for _, file := range some(t, row.Files) {
			psk, err := pnet.DecodeV1PSK(bytes.NewReader(file.File))
			check(t, err)
			equal(t, file.Encoding, hex.EncodeToString(psk), hex.EncodeToString(row.Secret))
		}
	}
	for _, row := range some(t, file.Packets) {
		derived, err := hkdf.Key(sha256.New, row.Secret, nil, "casm-boot"+row.Namespace, 36)
		check(t, err)
		equal(t, row.Name+" key", hex.EncodeToString(derived), hex.EncodeToString(append(row.Key, row.ID...)))
		aead, err := chacha20poly1305.NewX(derived[:32])
		check(t, err)
		head := append([]byte{0, 'C', 'S', 1}, derived[32:]...)
		sealed := append(head, row.Nonce...)
		sealed = aead.Seal(sealed, row.Nonce, row.Envelope, head)
		equal(t, row.Name, hex.EncodeToString(sealed), hex.EncodeToString(row.Hex))
		packet, err := OpenPacket(row.Envelope)
		check(t, err)
		equal(t, row.Name+" namespace", packet.Namespace, row.Namespace)
		// Who has no secret drops it.
		if _, err := OpenPacket(row.Hex); err == nil {
			t.Errorf("%s: is read without a secret", row.Name)
		}
	}
	for _, row := range some(t, file.Refused) {
		if row.Name == "not sealed" {
			continue
		}
		if _, err := OpenPacket(row.Hex); err == nil {
			t.Errorf("%s: is read without a secret", row.Name)
		}
	}
}
