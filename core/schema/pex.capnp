# One record of a peer-exchange round. A round is a sequence of these, the
# sender's own record last.

@0xbbd81c151780f030;

struct Gossip {
  hop      @0 :UInt64;
  # Rounds since the record left the peer it describes; 0 only in its own hands.

  envelope @1 :Data;
  # A signed libp2p peer record.
}
