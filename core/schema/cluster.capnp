# Heartbeats, and the interface through which a node's view of the cluster is
# queried over RPC.

@0xc2974e3dc137fcee;

struct Heartbeat {
  # Says that its sender lives. The sender's id and the sequence number are
  # those of the signed pubsub message that carries it.

  ttl    @0 :UInt32;
  # Milliseconds for which the record is to be kept; 0 means 10 s.

  server @1 :UInt64;
  host   @2 :Text;

  meta   @3 :List(Text);
  # `key=value`; the first `=` divides.

  # From here on fields of ours, which Go's nodes read past.

  addrs  @4 :List(Data);
  # Binary multiaddrs, without `/p2p`, at which the sender is reached.

  sentAt @5 :UInt64;
  # Milliseconds since 1970 by the sender's clock; 0: not said.
}

interface View {
  lookup  @0 (selector :Selector, constraints :List(Constraint)) -> (result :MaybeRecord);
  iter    @1 (handler :Handler, selector :Selector, constraints :List(Constraint)) -> ();
  reverse @2 () -> (view :View);

  interface Handler {
    recv @0 (record :Record) -> stream;
  }

  struct Selector {
    union {
      all   @0 :Void;
      match @1 :Index;
      from  @2 :Index;
    }
  }

  struct Constraint {
    union {
      limit @0 :UInt64;
      to    @1 :Index;
    }
  }

  struct Index {
    prefix @0 :Bool;

    union {
      peer   @1 :Text;
      # Base58.
      server @2 :Data;
      # 16 hexadecimal digits.
      host   @3 :Text;
      meta   @4 :Text;
    }
  }

  struct Record {
    peer      @0 :Text;
    # The raw bytes of a peer id.
    server    @1 :UInt64;
    seq       @2 :UInt64;
    heartbeat @3 :Heartbeat;
    signed    @4 :Data;
    # The pubsub message as the peer signed it, which proves the record; empty
    # if it is not at hand. (Ours.)
  }

  struct MaybeRecord {
    union {
      nothing @0 :Void;
      just    @1 :Record;
    }
  }
}
