//! Output that holds nobody up: lines wait in a bounded queue, and a thread
//! writes them. If whoever reads them is too slow, the oldest are dropped, and
//! a line in their place says how many.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};
use tokio::sync::watch;

/// What a line costs beside its bytes.
const OVERHEAD: usize = 64;

/// The most that is written at once: so much can no longer be dropped.
const BATCH: usize = 64 * 1024;

/// A line that says how many were dropped.
type Gap = Box<dyn Fn(u64) -> Vec<u8> + Send>;

/// A stream that is written in the background. Clones write to the same one.
#[derive(Clone)]
pub struct Outlet(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    room: usize,
    failed: watch::Sender<Option<Failed>>,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: u64,
    writing: bool,
}

/// Why nothing more is written.
#[derive(Clone, Debug)]
struct Failed(io::ErrorKind, String);

impl From<Failed> for io::Error {
    fn from(failed: Failed) -> Self {
        Self::new(failed.0, failed.1)
    }
}

impl Outlet {
    /// An outlet to a writer, where lines of so many bytes may wait; a longer
    /// one waits alone.
    pub fn new(
        name: &str,
        room: usize,
        to: impl Write + Send + 'static,
        gap: impl Fn(u64) -> Vec<u8> + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
            room,
            failed: watch::Sender::new(None),
        });
        let outlet = Self(shared.clone());
        let gap: Gap = Box::new(gap);
        thread::Builder::new().name(name.into()).spawn(move || shared.write(to, &gap))?;
        Ok(outlet)
    }

    /// Has whole lines written after those before them.
    ///
    /// # Errors
    /// If an earlier line could not be written; then no more are.
    pub fn push(&self, lines: Vec<u8>) -> io::Result<()> {
        if let Some(failed) = self.0.failed.borrow().clone() {
            return Err(failed.into());
        }
        if lines.is_empty() {
            return Ok(());
        }
        let cost = lines.len() + OVERHEAD;
        let mut queue = self.0.queue();
        while queue.bytes + cost > self.0.room {
            let Some(oldest) = queue.lines.pop_front() else { break };
            queue.bytes -= oldest.len() + OVERHEAD;
            queue.dropped += 1;
        }
        queue.bytes += cost;
        queue.lines.push_back(lines);
        drop(queue);
        self.0.changed.notify_all();
        Ok(())
    }

    /// Whether something is still to be written: whoever draws the same again
    /// and again waits for it.
    pub fn is_behind(&self) -> bool {
        let queue = self.0.queue();
        queue.writing || !queue.lines.is_empty()
    }

    /// Waits until all is written, or cannot be, or `gives_up` says so, which is
    /// asked every 20 ms.
    pub fn drain(&self, mut gives_up: impl FnMut() -> bool) {
        const ASK_EVERY: Duration = Duration::from_millis(20);
        let mut queue = self.0.queue();
        while (queue.writing || !queue.lines.is_empty())
            && self.0.failed.borrow().is_none()
            && !gives_up()
        {
            let waited = self.0.changed.wait_timeout(queue, ASK_EVERY);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until a line could not be written, and gives the reason.
    pub async fn failure(&self) -> io::Error {
        let mut failed = self.0.failed.subscribe();
        loop {
            if let Some(failed) = failed.borrow_and_update().clone() {
                return failed.into();
            }
            if failed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what comes, for ever, or until it can't.
    fn write(&self, mut to: impl Write, gap: &Gap) {
        loop {
            let batch = self.next_batch(gap);
            let result = to.write_all(&batch).and_then(|()| to.flush());
            let mut queue = self.queue();
            queue.writing = false;
            if let Err(error) = &result {
                *queue = Queue::default();
                self.failed.send_replace(Some(Failed(error.kind(), error.to_string())));
            }
            drop(queue);
            self.changed.notify_all();
            if result.is_err() {
                return;
            }
        }
    }

    fn next_batch(&self, gap: &Gap) -> Vec<u8> {
        let mut queue = self.queue();
        while queue.lines.is_empty() {
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let mut batch = match std::mem::take(&mut queue.dropped) {
            0 => Vec::new(),
            count => gap(count),
        };
        while let Some(line) = queue.lines.pop_front() {
            queue.bytes -= line.len() + OVERHEAD;
            batch.extend(line);
            if queue.lines.front().is_none_or(|next| batch.len() + next.len() > BATCH) {
                break;
            }
        }
        queue.writing = true;
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// A writer whose every write waits until it is let through.
    struct Slow {
        taken: mpsc::Sender<String>,
        let_through: mpsc::Receiver<io::Result<()>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.taken.send(String::from_utf8_lossy(bytes).into_owned()).unwrap();
            self.let_through.recv().unwrap_or(Ok(()))?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow(room: usize) -> (Outlet, mpsc::Receiver<String>, mpsc::Sender<io::Result<()>>) {
        let (taken, takes) = mpsc::channel();
        let (go, let_through) = mpsc::channel();
        let gap = |count| format!("dropped {count}\n").into_bytes();
        (Outlet::new("test", room, Slow { taken, let_through }, gap).unwrap(), takes, go)
    }

    #[test]
    fn the_oldest_lines_are_dropped_and_counted_in_their_place() {
        let line = |n: u32| format!("line {n}\n").into_bytes();
        let (outlet, takes, go) = slow(4 * (line(1).len() + OVERHEAD));
        outlet.push(line(0)).unwrap();
        assert_eq!(takes.recv().unwrap(), "line 0\n");
        for n in 1..10 {
            outlet.push(line(n)).unwrap();
        }
        assert!(outlet.is_behind());
        go.send(Ok(())).unwrap();
        assert_eq!(takes.recv().unwrap(), "dropped 5\nline 6\nline 7\nline 8\nline 9\n");
        let mut asked = 0;
        outlet.drain(|| {
            asked += 1;
            asked > 2
        });
        assert!(outlet.is_behind(), "it gave up");
        go.send(Ok(())).unwrap();
        outlet.drain(|| false);
        assert!(!outlet.is_behind());
    }

    #[test]
    fn a_line_that_is_larger_than_the_queue_is_written() {
        let (outlet, takes, go) = slow(8);
        outlet.push(vec![b'x'; 1000]).unwrap();
        assert_eq!(takes.recv().unwrap().len(), 1000);
        drop(go);
        outlet.drain(|| false);
    }

    #[tokio::test]
    async fn a_failure_is_told_to_who_waits_and_to_who_writes() {
        let (outlet, _takes, go) = slow(100);
        outlet.push(b"a\n".to_vec()).unwrap();
        go.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
        assert_eq!(outlet.failure().await.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(outlet.push(b"b\n".to_vec()).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        outlet.drain(|| false);
    }
}
