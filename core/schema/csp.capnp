# Channels and semaphores of a node, served as the capability `chan`.

@0xb7d4a95c0e6f1d23;

using Chan = import "chan.capnp";

interface Channels {
  open @0 (name :Text) -> (channel :Channel);
  # A name that is not here: an exception whose reason begins with `notFound`.

  semaphore @1 (name :Text) -> (semaphore :Semaphore);
  # The same.
}

interface Channel extends(Chan.Chan(Data)) {
  # Through the methods of `Chan` a value is received at most once: what is lost
  # on its way is gone. A member loses none.

  join @0 (party :UInt64) -> (member :Member, epoch :UInt64, info :Info, known :Bool);
  # `party` is a random number by which the owner knows a caller again that
  # comes back over another connection. `epoch` is another one for each
  # channel that is made. `known`: it is one that the owner remembers.
}

struct Info {
  capacity @0 :UInt32;
  maxValue @1 :UInt32;
  # Bytes of a value, at most.
}

interface Member {
  # A party, over one connection: with it end its leases, and what waits.

  lease @0 (request :UInt64, take :Bool, waitMs :UInt32, settled :UInt64) -> (lease :Lease);
  # Waits for a value. One that is not confirmed within 5 s, or that was taken
  # and is not renewed within 10 s, goes back to where it was. `settled`: of the
  # leases below this, the party asks no outcome any more.

  cancel @1 (request :UInt64) -> ();
  # The answer of that `lease` comes at once; it may be a value all the same.

  confirm @2 (lease :UInt64) -> (ok :Bool);
  # The value is the party's from now on; what was taken is done. True again
  # when asked again, for 10 minutes. False: it is not the party's, and may be
  # another's.

  giveBack @3 (lease :UInt64) -> ();
  renew    @4 (leases :List(UInt64)) -> (lost :List(UInt64));

  send @5 (number :UInt64, settled :UInt64, waitMs :UInt32, value :Data) -> (outcome :Outcome);
  # `number` grows with every value of a party; one that is sent again is not
  # taken in again, for 10 minutes. Of the numbers below `settled`, the party
  # asks no outcome any more.

  withdraw @6 (number :UInt64) -> (outcome :Outcome);

  close @7 () -> (refused :Bool);
}

struct Lease {
  union {
    nothing @0 :Void;
    # The time has passed, or it was cancelled.
    closed  @1 :Void;
    busy    @2 :Void;
    # Too many wait here, or too many leases are out: ask again later.
    value   @3 :Value;
  }

  struct Value {
    lease @0 :UInt64;
    data  @1 :Data;
  }
}

enum Outcome {
  accepted  @0;
  withdrawn @1;
  # It is not taken in: it was withdrawn, or the time has passed.
  closed    @2;
  busy      @3;
  tooLarge  @4;
  stale     @5;
  # The number is below one that the party called settled.
}

interface Semaphore {
  join @0 (party :UInt64) -> (holder :Holder, epoch :UInt64, permits :UInt32);
}

interface Holder {
  # A grant lasts for `ttlMs` from when its `acquire` or last `renew` was sent;
  # the owner counts from when that came, and waits 2 s more.

  acquire  @0 (number :UInt64, waitMs :UInt32) -> (grant :Grant);
  # `number` grows with every acquire of a party; asked again, the answer is
  # the same grant, renewed.

  renew    @1 (tokens :List(UInt64)) -> (lost :List(UInt64));
  giveBack @2 (number :UInt64) -> ();
  # Gives back the grant of that acquire, or calls it off.
}

struct Grant {
  union {
    nothing @0 :Void;
    closed  @1 :Void;
    busy    @2 :Void;
    token   @3 :UInt64;
    # Grows with every grant.
  }

  ttlMs @4 :UInt32;
}
