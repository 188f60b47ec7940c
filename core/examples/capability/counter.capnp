# An interface of one's own: a counter that several peers share.

@0xd5e4c1a2b3f60718;

interface Counter {
  add @0 (amount :UInt64) -> (total :UInt64);

  watch @1 (watcher :Watcher) -> ();
  # Tells the watcher every total from now on. Ends with the call.

  interface Watcher {
    total @0 (total :UInt64) -> stream;
  }
}
