//! The end of a program: it is ended once, so this is a process of its own.

use casm_bindings::{at_exit, reenter};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::Duration,
};

/// Nothing may take longer, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether a thread comes back. One that doesn't is taken for one that never
/// will: if it is only slow, less is tested.
fn comes_back() -> bool {
    let (back, came) = channel();
    thread::spawn(move || {
        drop(reenter());
        let _ = back.send(());
    });
    came.recv_timeout(Duration::from_millis(100)) != Err(RecvTimeoutError::Timeout)
}

#[test]
fn the_end_waits_for_a_thread_on_its_way_back_and_lets_no_other_back() {
    thread::spawn(|| drop(reenter())).join().unwrap();
    let on_its_way = reenter();
    let let_go = Arc::new(AtomicBool::new(false));
    let (end, ended) = channel();
    let seen = let_go.clone();
    thread::spawn(move || {
        at_exit(PATIENCE);
        // The thread that ends the program comes back itself.
        drop(reenter());
        end.send(seen.load(Ordering::SeqCst)).unwrap();
    });
    while comes_back() {}
    let_go.store(true, Ordering::SeqCst);
    drop(on_its_way);
    assert_eq!(ended.recv_timeout(PATIENCE), Ok(true));
    assert!(!comes_back());
}
