//! Entrances for fuzzing, to what is not public.

use super::{
    digest::Digest,
    wire::{self, Item, SyncError},
};
use futures::FutureExt;
use std::time::Duration;

/// Reads bytes as the frame of a digest. Gives the digest, and its frame as
/// this node would write it.
///
/// # Errors
/// The label of what is wrong with them.
pub fn digest(bytes: &[u8]) -> Result<(Digest, Vec<u8>), &'static str> {
    let list = at_once(wire::read_list(&mut &*bytes))?;
    let digest = wire::decode_digest(&list).map_err(|error| error.label())?;
    let mut frame = Vec::new();
    at_once(wire::write_frame(&mut frame, &wire::encode_digest(&digest)))?;
    Ok((digest, frame))
}

/// Reads bytes as the frame of a list of ids. Gives the ids, and their frame as
/// this node would write it.
///
/// # Errors
/// The label of what is wrong with them.
pub fn ids(bytes: &[u8]) -> Result<(Vec<u64>, Vec<u8>), &'static str> {
    let list = at_once(wire::read_list(&mut &*bytes))?;
    let ids = wire::decode_ids(&list).map_err(|error| error.label())?;
    let mut frame = Vec::new();
    at_once(wire::write_frame(&mut frame, &wire::encode_ids(&ids)))?;
    Ok((ids, frame))
}

/// A heartbeat as it is handed over: for how long the other node has had it,
/// and the signed message.
pub type Handed = (Duration, Vec<u8>);

/// Reads bytes as the frames of heartbeats. Gives the heartbeats, their frames
/// as this node would write them, and what ended it.
pub fn handed(mut bytes: &[u8]) -> (Vec<Handed>, Vec<u8>, &'static str) {
    let (mut all, mut frames) = (Vec::new(), Vec::new());
    loop {
        match at_once(wire::read_item(&mut bytes)) {
            Ok(Item::Handed(age, message)) => {
                wire::push_handed(age, &message, &mut frames);
                all.push((age, message));
            }
            Ok(Item::End { more }) => return (all, frames, if more { "more" } else { "end" }),
            Err(label) => return (all, frames, label),
        }
    }
}

/// Bytes in memory make nobody wait.
fn at_once<T>(io: impl Future<Output = Result<T, SyncError>>) -> Result<T, &'static str> {
    io.now_or_never().unwrap_or(Err(SyncError::Timeout)).map_err(|error| error.label())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let digest_of = Digest { first: 3, last: 9, entries: vec![(4, 7), (8, 1)] };
        let mut frame = Vec::new();
        at_once(wire::write_frame(&mut frame, &wire::encode_digest(&digest_of))).unwrap();
        assert_eq!(digest(&frame), Ok((digest_of, frame.clone())));
        assert_eq!(ids(&frame).unwrap().0, [3, 9, 4, 7, 8, 1]);
        assert_eq!(digest(&frame[..frame.len() - 1]), Err("io"));
        let mut frames = Vec::new();
        wire::push_handed(Duration::from_millis(7), b"signed", &mut frames);
        let without_end = frames.clone();
        wire::push_end(true, &mut frames);
        let all = vec![(Duration::from_millis(7), b"signed".to_vec())];
        assert_eq!(handed(&frames), (all.clone(), without_end.clone(), "more"));
        assert_eq!(handed(&without_end), (all, without_end.clone(), "io"));
    }
}
