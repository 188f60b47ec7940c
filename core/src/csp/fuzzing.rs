//! Entrances for fuzzing, to what is not public.

use super::{link, owner, party, value::MAX_VALUE};
use crate::schema::csp_capnp::{grant, lease, member};
use capnp::{message::ReaderOptions, serialize};

/// Reads a message as what owners and those who use their channels send each other.
/// Gives how many bytes the value of a lease has, if it is one.
pub fn message(bytes: &[u8]) -> Option<usize> {
    let mut options = ReaderOptions::new();
    options.nesting_limit(64).traversal_limit_in_words(Some(1 << 18));
    let message = serialize::read_message(bytes, options).ok()?;
    if let Ok(params) = message.get_root::<member::send_params::Reader<'_>>() {
        let _ = params.get_value().map(super::server::read_value);
    }
    if let Ok(params) = message.get_root::<member::renew_params::Reader<'_>>() {
        let _ = params.get_leases().map(|leases| leases.iter().max());
    }
    if let Ok(grant) = message.get_root::<grant::Reader<'_>>() {
        let _ = grant.which().map(|which| matches!(which, grant::Token(_)));
    }
    let reply = link::leased(message.get_root::<lease::Reader<'_>>().ok()?).ok()?;
    match reply {
        party::Reply::Value { value, .. } => {
            assert!(value.as_slice().len() <= MAX_VALUE);
            Some(value.as_slice().len())
        }
        _ => Some(0),
    }
}

/// Makes calls at a channel that its users might make, three bytes for each, and
/// checks what comes of them.
pub fn calls(bytes: &[u8]) {
    owner::fuzzing::calls(bytes);
}

/// Gives one who uses a channel answers that its owner might give, three bytes for
/// each thing that happens, and checks what comes of them.
pub fn replies(bytes: &[u8]) {
    party::fuzzing::replies(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use capnp::message::Builder;
    use proptest::prelude::*;

    fn steps() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..1200)
    }

    proptest! {
        #[test]
        fn whatever_parties_call_nothing_is_lost_or_received_twice_or_kept_for_nothing(
            bytes in steps(),
        ) {
            calls(&bytes);
        }

        #[test]
        fn whatever_an_owner_answers_all_who_wait_are_told_once(bytes in steps()) {
            replies(&bytes);
        }

        #[test]
        fn damaged_messages_are_read_within_the_limits_or_not_at_all(
            data in prop::collection::vec(any::<u8>(), 0..200),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        ) {
            let mut built = Builder::new_default();
            let mut value = built.init_root::<lease::Builder<'_>>().init_value();
            value.set_lease(7);
            value.set_data(&data);
            let mut bytes = serialize::write_message_to_words(&built);
            prop_assert_eq!(message(&bytes), Some(data.len()));
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let _ = message(&bytes);
        }
    }
}
