# Datagrams of the boot protocol: who asks for a namespace, and who answers.
#
# A packet travels as the payload of a signed envelope, packed. `from` and
# `peer` hold the raw bytes of a peer id, which are not UTF-8.

@0xfa005a3c690f4a62;

struct Packet {
  namespace @0 :Text;
  # The namespace that is asked for, or answered for.

  union {
    request :group {
      # Unicast: whoever advertises the namespace answers.
      from @1 :Text;
    }

    survey :group {
      # Multicast: whoever advertises the namespace and is near enough answers.
      from     @2 :Text;
      distance @3 :UInt8;
      # Bits of XOR distance that are ignored; 32 or more means everyone.
    }

    response :group {
      peer  @4 :Text;
      addrs @5 :List(Data);
      # Binary multiaddrs at which the peer listens.
    }
  }

  nonce @6 :UInt64;
  # Of a survey: a random number; its answers carry the same one. 0: none. (Ours; Go's nodes read past it.)
}
