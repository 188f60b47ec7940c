# What a worker of the pool does.

@0x98de14d8f2a16586;

interface Worker {
  square @0 (number :UInt64) -> (square :UInt64);
}
