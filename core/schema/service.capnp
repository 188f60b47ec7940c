# Services: a question to a node and one answer, or a stream of parts. The
# capability `svc` of a node is a `Services`. All of it is ours.

@0xf1a2571327d34a57;

interface Services {
  get @0 (name :Text) -> (service :Service);
  # Also of a name that is not served: its calls fail as `notFound`, until it is.
}

interface Service {
  call   @0 (request :Data, timeoutMs :UInt32, headers :List(Header)) -> (answer :Answer);
  # At most 1 MiB each way. 0 ms: no limit.

  stream @1 (request :Data, timeoutMs :UInt32, headers :List(Header), parts :Parts)
         -> (answer :Answer);
  # Answers when all parts have been taken.

  interface Parts {
    part @0 (data :Data) -> stream;
    # At most 64 KiB.

    end  @1 () -> ();
    # Awaited before the answer: it is behind all parts.
  }
}

struct Header {
  # At most 16, with 4 KiB in all.

  key   @0 :Text;
  value @1 :Text;
}

struct Answer {
  union {
    ok     @0 :Data;
    failed @1 :Failure;
  }
  headers @2 :List(Header);
}

struct Failure {
  kind    @0 :Text;
  # `busy`, `closing` and `notFound`: it has not begun. `remote`: the handler
  # failed. `deadline`, `tooLarge`, `parts` (they could not be sent, or are not
  # what was asked for).

  message @1 :Text;
}
