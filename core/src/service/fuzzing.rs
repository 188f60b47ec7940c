//! Entrances for fuzzing, to what is not public.

use super::wire;
use crate::schema::service_capnp::{answer, service::call_params};
use capnp::{message::ReaderOptions, serialize};

fn options() -> ReaderOptions {
    let mut options = ReaderOptions::new();
    options.nesting_limit(64).traversal_limit_in_words(Some(1 << 20));
    options
}

/// Reads a message as an answer; gives how many bytes it has, and how many
/// headers. One that is read must be the same when it is written and read again.
pub fn answer(message: &[u8]) -> Option<(usize, usize)> {
    let message = serialize::read_message(message, options()).ok()?;
    let read = wire::read_answer(message.get_root::<answer::Reader>().ok()?).ok()?;
    let mut again = capnp::message::Builder::new_default();
    wire::write_answer(&read, again.init_root());
    let root = again.get_root_as_reader().expect("it was just written");
    assert_eq!(wire::read_answer(root).expect("it can be read"), read);
    Some(read.map_or_else(
        |failure| (failure.message.len(), 0),
        |reply| (reply.data.len(), reply.headers.len()),
    ))
}

/// Reads a message as the parameters of a call; gives how many bytes the request
/// has, and how many headers.
pub fn call(message: &[u8]) -> Option<(usize, usize)> {
    let message = serialize::read_message(message, options()).ok()?;
    let params = message.get_root::<call_params::Reader>().ok()?;
    let headers = wire::read_headers(params.get_headers().ok()?).ok()??;
    Some((params.get_request().ok()?.len(), headers.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{Headers, Reply};
    use capnp::message::Builder;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn damaged_answers_are_read_within_the_limits_or_not_at_all(
            data in prop::collection::vec(any::<u8>(), 0..200),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        ) {
            let headers = Headers::from([("key".into(), "value".into()), ("k".into(), "".into())]);
            let mut message = Builder::new_default();
            wire::write_answer(&Ok(Reply { data, headers }), message.init_root());
            let mut bytes = serialize::write_message_to_words(&message);
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some((len, headers)) = answer(&bytes) {
                prop_assert!(len <= wire::MAX_DATA && headers <= 16);
            }
            let _ = call(&bytes);
        }
    }
}
