//! Entrances for fuzzing, to what is not public.

pub use super::{
    items::Item,
    reconcile::Found,
    wire::{Frame, Header},
};
use super::{
    ranges::MAX_RANGES,
    reconcile::Reconcile,
    wire::{self, SyncError},
};
use crate::cluster::Items;
use futures::FutureExt;

/// A frame, its bytes as this node would write it, and how many it was read
/// from.
pub type Read = (Frame, Vec<u8>, usize);

/// Reads bytes as frames. Gives the frames, and what ended it.
pub fn frames(mut bytes: &[u8]) -> (Vec<Read>, &'static str) {
    let mut all = Vec::new();
    loop {
        let before = bytes.len();
        match at_once(wire::read(&mut bytes)) {
            Ok(frame) => {
                let mut written = Vec::new();
                frame.push(&mut written);
                all.push((frame, written, before - bytes.len()));
            }
            Err(label) => return (all, label),
        }
    }
}

/// Compares items with a side that says this, by frames, each frame as it comes;
/// `opens`: whether the own side begins. Gives what was found up to the end, or to
/// what was refused.
///
/// # Panics
/// If an answer is longer than it may be.
pub fn compare<'a>(items: &[Item], opens: bool, said: impl IntoIterator<Item = &'a [u8]>) -> Found {
    let items = Items::new(items.iter().copied(), std::iter::empty(), &[7; 16]);
    let mut side = Reconcile::new(items);
    if opens {
        assert!(side.begin().len() <= MAX_RANGES);
    }
    for (at, frame) in (0..).zip(said) {
        match side.take(frame, at) {
            Ok(Some(answer)) => assert!(answer.len() <= MAX_RANGES),
            Ok(None) | Err(_) => break,
        }
    }
    side.found()
}

/// Bytes in memory make nobody wait.
fn at_once<T>(io: impl Future<Output = Result<T, SyncError>>) -> Result<T, &'static str> {
    io.now_or_never().unwrap_or(Err(SyncError::Timeout)).map_err(|error| error.label())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_written_is_read() {
        let all = [
            Frame::Header(Header { time: Some(7), key: None }),
            Frame::Header(Header { time: Some(7), key: Some([9; 16]) }),
            Frame::Header(Header::default()),
            Frame::Ranges(vec![1, 2, 3]),
            Frame::Wanted(vec![3, 9]),
            Frame::Handed(Duration::from_millis(7), b"signed".to_vec()),
            Frame::End { more: true },
            Frame::End { more: false },
        ];
        let mut bytes = Vec::new();
        all.iter().for_each(|frame| frame.push(&mut bytes));
        let (read, end) = frames(&bytes);
        assert_eq!(
            (read.iter().map(|(frame, ..)| frame.clone()).collect::<Vec<_>>(), end),
            (all.to_vec(), "io")
        );
        assert_eq!(
            read.iter().map(|(_, written, _)| &written[..]).collect::<Vec<_>>().concat(),
            bytes
        );
        assert_eq!(frames(&bytes[..bytes.len() - 1]).0.len(), all.len() - 1);
    }

    #[test]
    fn a_header_may_say_what_is_not_known() {
        let fields = [&[0, 9, 0, 2, 7, 7][..], &[0, 1, 0, 8], &5_u64.to_be_bytes(), &[1, 1, 0, 0]];
        let mut bytes = vec![0, 0, 0, 23, 0];
        fields.iter().for_each(|field| bytes.extend_from_slice(field));
        let (read, _) = frames(&bytes);
        assert_eq!(read[0].0, Frame::Header(Header { time: Some(5), key: None }));
        assert_eq!(read[0].2, bytes.len());
    }
}
