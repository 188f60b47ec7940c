//! Frames on a stream: each with its length before it, a varint. What waits for
//! a frame holds no memory, and what is announced costs nothing before it comes.

use futures::{AsyncRead, AsyncWrite, ready};
use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

/// How long the peer may take over one frame, and a second for each 16 KiB of it.
pub(super) const STALLED: Duration = Duration::from_secs(15);

fn time_for(len: usize) -> Duration {
    STALLED + Duration::from_secs((len >> 14) as u64)
}

/// The memory that a longer frame begins with.
const FIRST: usize = 4 << 10;
/// The most bytes that are written at once. Buffers of a connection (noise has
/// three) keep the size of the longest write for as long as it lasts.
const AT_ONCE: usize = 2 << 10;
/// The most bytes of a length.
const MAX_LEN_BYTES: u8 = 4;

/// Why no more frames come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The stream is over.
    Over,
    /// What came is no frame, or is longer than it may be.
    Malformed,
    /// The rest of a frame does not come.
    Stalled,
}

/// What is read of a stream.
pub(super) struct Reading<S> {
    stream: S,
    /// The length of the frame, and how many of its bytes are there.
    len: usize,
    len_bytes: u8,
    has_len: bool,
    frame: Vec<u8>,
    filled: usize,
    /// Runs as soon as the rest of a frame has to be waited for.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + Unpin> Reading<S> {
    pub(super) fn new(stream: S) -> Self {
        let (len, len_bytes, has_len) = (0, 0, false);
        Self { stream, len, len_bytes, has_len, frame: Vec::new(), filled: 0, stalled: None }
    }

    /// The next frame, of `max` bytes at most, without its length.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Result<Vec<u8>, Ended>> {
        let polled = self.poll_frame(cx, max);
        let is_between = self.len_bytes == 0;
        if polled.is_ready() || is_between {
            self.stalled = None;
            return polled;
        }
        let len = if self.has_len { self.len } else { 0 };
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(time_for(len))));
        stalled.as_mut().poll(cx).map(|()| Err(Ended::Stalled))
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>, max: usize) -> Poll<Result<Vec<u8>, Ended>> {
        while !self.has_len {
            let mut byte = [0];
            if ready!(self.poll_read(cx, &mut byte)) == 0 {
                return Poll::Ready(Err(Ended::Over));
            }
            self.len |= usize::from(byte[0] & 0x7f) << (7 * self.len_bytes);
            self.len_bytes += 1;
            self.has_len = byte[0] & 0x80 == 0;
            let too_long = !self.has_len && self.len_bytes == MAX_LEN_BYTES;
            if too_long || self.len > max {
                return Poll::Ready(Err(Ended::Malformed));
            }
        }
        while self.filled < self.len {
            if self.filled == self.frame.len() {
                let len = self.len.min(FIRST.max(2 * self.filled));
                self.frame.reserve_exact(len - self.filled);
                self.frame.resize(len, 0);
            }
            let room = &mut self.frame[self.filled..];
            match ready!(Pin::new(&mut self.stream).poll_read(cx, room)) {
                Ok(read @ 1..) => self.filled += read,
                _ => return Poll::Ready(Err(Ended::Over)),
            }
        }
        (self.len, self.len_bytes, self.has_len, self.filled) = (0, 0, false, 0);
        Poll::Ready(Ok(std::mem::take(&mut self.frame)))
    }

    /// Reads some; nothing if the stream is over, however it ended.
    fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<usize> {
        Pin::new(&mut self.stream).poll_read(cx, room).map(|read| read.unwrap_or(0))
    }
}

/// A frame that is written.
pub(super) struct Writing {
    frame: Vec<u8>,
    written: usize,
    /// Runs as soon as the peer has to be waited for.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Writing {
    /// A frame with its length.
    pub(super) fn new(frame: Vec<u8>) -> Self {
        Self { frame, written: 0, stalled: None }
    }

    /// Writes it.
    pub(super) fn poll(
        &mut self,
        stream: impl AsyncWrite + Unpin,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(result) = self.poll_write(stream, cx) {
            return Poll::Ready(result);
        }
        let time = time_for(self.frame.len());
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(time)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_write(
        &mut self,
        mut stream: impl AsyncWrite + Unpin,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(&mut stream);
        while self.written < self.frame.len() {
            let rest = &self.frame[self.written..];
            match ready!(stream.as_mut().poll_write(cx, &rest[..rest.len().min(AT_ONCE)]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
        stream.poll_flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::io::{AsyncReadExt as _, AsyncWriteExt as _, Cursor};
    use std::future::poll_fn;
    use tokio_util::compat::TokioAsyncReadCompatExt as _;

    const MAX: usize = 1 << 20;

    async fn next<S: AsyncRead + Unpin>(reading: &mut Reading<S>) -> Result<Vec<u8>, Ended> {
        poll_fn(|cx| reading.poll(cx, MAX)).await
    }

    fn framed(bytes: &[u8]) -> Vec<u8> {
        let mut len = unsigned_varint::encode::usize_buffer();
        [unsigned_varint::encode::usize(bytes.len(), &mut len), bytes].concat()
    }

    #[tokio::test]
    async fn frames_come_as_they_were_sent_however_they_are_cut() {
        let frames = [0, 1, 127, 128, 5000, 16_383, 16_384, MAX].map(|len| vec![len as u8; len]);
        for buffer in [1, 7, 4096, 1 << 21] {
            let (ours, theirs) = tokio::io::duplex(buffer);
            let (mut ours, frames) = (ours.compat(), frames.clone());
            // A byte at a time takes long.
            let frames = frames.iter().take(if buffer < 4096 { 5 } else { 8 });
            let frames: Vec<_> = frames.cloned().collect();
            let sent = frames.clone();
            tokio::spawn(async move {
                for frame in sent {
                    let mut writing = Writing::new(framed(&frame));
                    poll_fn(|cx| writing.poll(&mut ours, cx)).await.unwrap();
                }
            });
            let mut reading = Reading::new(theirs.compat());
            for frame in &frames {
                assert!(next(&mut reading).await.as_ref() == Ok(frame), "{}", frame.len());
                assert_eq!(reading.frame.capacity(), 0, "nothing is held");
            }
            assert_eq!(next(&mut reading).await, Err(Ended::Over));
        }
    }

    #[tokio::test]
    async fn what_is_announced_costs_nothing_before_it_comes() {
        let (ours, theirs) = tokio::io::duplex(1 << 21);
        let mut ours = ours.compat();
        let mut reading = Reading::new(theirs.compat());
        let frame = framed(&vec![7; MAX]);
        let mut sent = 0;
        for until in [3, 100, 5000, 100_000] {
            ours.write_all(&frame[sent..until]).await.unwrap();
            sent = until;
            assert!(futures::poll!(Box::pin(next(&mut reading))).is_pending());
            assert!(reading.frame.capacity() <= FIRST.max(2 * until), "{until}");
        }
        ours.write_all(&frame[sent..]).await.unwrap();
        assert_eq!(next(&mut reading).await.unwrap().len(), MAX);
    }

    #[tokio::test]
    async fn what_is_too_long_or_cut_short_is_no_frame() {
        let too_long = framed(&vec![0; MAX + 1]);
        for (bytes, ended) in [
            (&too_long[..3], Ended::Malformed),
            (&[0xff, 0xff, 0xff, 0xff, 0], Ended::Malformed),
            (&[0x80, 0x80, 0x80, 0x80, 0], Ended::Malformed),
            (&[], Ended::Over),
            (&[0x80], Ended::Over),
            (&[2, 1], Ended::Over),
        ] {
            assert_eq!(next(&mut Reading::new(Cursor::new(bytes))).await, Err(ended), "{bytes:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_waited_for_no_longer_than_that() {
        let (ours, theirs) = tokio::io::duplex(64);
        let (mut ours, mut theirs) = (ours.compat(), theirs.compat());
        let begun = tokio::time::Instant::now();
        let mut writing = Writing::new(vec![0; 1000]);
        let written = poll_fn(|cx| writing.poll(&mut ours, cx)).await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), STALLED);
        let mut some = [0; 64];
        theirs.read_exact(&mut some).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_within_a_frame_is_waited_for_no_longer_than_it_may_take() {
        let (ours, theirs) = tokio::io::duplex(1 << 21);
        let (mut ours, mut reading) = (ours.compat(), Reading::new(theirs.compat()));
        // Between frames there is all the time.
        let day = Duration::from_secs(24 * 3600);
        assert!(tokio::time::timeout(day, next(&mut reading)).await.is_err());
        for len in [100_usize, MAX] {
            let frame = framed(&vec![7; len]);
            let begun = tokio::time::Instant::now();
            ours.write_all(&frame[..frame.len() - 1]).await.unwrap();
            let late = tokio::time::timeout(time_for(len) / 2, next(&mut reading)).await;
            assert!(late.is_err());
            ours.write_all(&frame[frame.len() - 1..]).await.unwrap();
            assert_eq!(next(&mut reading).await.unwrap().len(), len);
            assert_eq!(begun.elapsed(), time_for(len) / 2);
        }
        ours.write_all(&framed(&[7; 100])[..50]).await.unwrap();
        let begun = tokio::time::Instant::now();
        assert_eq!(next(&mut reading).await, Err(Ended::Stalled));
        assert_eq!(begun.elapsed(), STALLED);
    }
}
