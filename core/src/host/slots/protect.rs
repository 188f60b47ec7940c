//! Who is not replaced when all connections are taken: those with merits that a
//! hostile peer has to earn one by one, and in different ways.

use super::{Sizes, Slot};
use crate::prefix::Prefix;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    hash::BuildHasher,
    time::Duration,
};

/// Those of others' connections that may be replaced, the oldest first.
///
/// Of 384, each from what is left by those before: the 16 with the lowest
/// round-trip time, the 16 oldest, the 32 whose peers were the first to bring
/// most gossip messages, and the oldest of each of 32 networks that a keyed
/// hash chooses. Of fewer connections, fewer.
pub(super) fn unprotected<'a, Id: Ord>(
    mut rest: Vec<(&'a Id, &'a Slot)>,
    sizes: &Sizes,
    hasher: &impl BuildHasher,
) -> Vec<(&'a Id, &'a Slot)> {
    let few = (sizes.inbound() / 24).min(16);
    let more = (sizes.inbound() / 12).min(32);

    let rtt = |slot: &Slot| slot.rtt.unwrap_or(Duration::MAX);
    rest.sort_by_key(|(id, slot)| (rtt(slot), *id));
    let known = rest.iter().take(few).filter(|(_, slot)| slot.rtt.is_some()).count();
    rest.drain(..known);

    rest.sort_by_key(|(id, _)| *id);
    rest.drain(..few.min(rest.len()));

    rest.sort_by_key(|(id, slot)| (Reverse(slot.brought), *id));
    let useful = rest.iter().take(more).filter(|(_, slot)| slot.brought > 0).count();
    rest.drain(..useful);

    rest.sort_by_key(|(id, _)| *id);
    let mut oldest: BTreeMap<Prefix, &Id> = BTreeMap::new();
    for (id, slot) in &rest {
        oldest.entry(slot.prefix).or_insert(*id);
    }
    let mut chosen: Vec<(u64, &Id)> =
        oldest.into_iter().map(|(prefix, id)| (hasher.hash_one(prefix), id)).collect();
    chosen.sort_unstable();
    chosen.truncate(more);
    let chosen: BTreeSet<&Id> = chosen.into_iter().map(|(_, id)| id).collect();
    rest.retain(|(id, _)| !chosen.contains(id));
    rest
}
