package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"

	"github.com/libp2p/go-libp2p/core/crypto"
)

// loadKey reads a key file, derives a key from a seed, or makes a fresh one.
func loadKey(file, kind string, seed int64) (crypto.PrivKey, error) {
	if file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		return crypto.UnmarshalPrivateKey(data)
	}
	if seed >= 0 {
		bytes := make([]byte, ed25519.SeedSize)
		binary.BigEndian.PutUint64(bytes, uint64(seed))
		return crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(bytes))
	}
	kinds := map[string]int{
		"ed25519": crypto.Ed25519, "secp256k1": crypto.Secp256k1,
		"ecdsa": crypto.ECDSA, "rsa": crypto.RSA,
	}
	code, known := kinds[kind]
	if !known {
		return nil, fmt.Errorf("key type %q is none of ed25519, secp256k1, ecdsa, rsa", kind)
	}
	key, _, err := crypto.GenerateKeyPairWithReader(code, 2048, rand.Reader)
	return key, err
}
