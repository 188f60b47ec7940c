//! Meta fields that are the library's: what a node offers to others.
//!
//! Their keys begin with a prefix of [`PREFIXES`], and a [name](crate::name)
//! follows. They are in the record's meta on the wire, and found by queries, but
//! the user's meta neither sees nor changes them.

use super::{Heartbeat, record::Meta};
use crate::{Error, ErrorKind, Result, name};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// What the key of a service begins with; the value is its version.
pub(crate) const SERVICE: &str = "svc.";
/// What the key of a channel begins with.
pub(crate) const CHANNEL: &str = "chan.";
/// What the key of a semaphore begins with.
pub(crate) const SEMAPHORE: &str = "sem.";
/// What the key of what a node does as such begins with.
pub(crate) const NODE: &str = "casm.";

/// What the library's keys begin with.
pub(crate) const PREFIXES: [&str; 4] = [SERVICE, CHANNEL, SEMAPHORE, NODE];

/// Whether a key is the library's.
pub(in crate::cluster) fn is_reserved(key: &str) -> bool {
    PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

/// The names and values of a record's fields with this prefix, in the order of
/// the names. What is no name is left out: the record may be anybody's.
pub(in crate::cluster) fn offered<'a>(
    meta: Meta<'a>,
    prefix: &'static str,
) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
    meta.from(prefix)
        .map_while(move |(key, value)| Some((key.strip_prefix(prefix)?, value)))
        .filter(|(name, _)| name::is_name(name))
}

/// The own meta: the user's fields, and those of what the node offers. Clones
/// share it.
#[derive(Clone)]
pub(in crate::cluster) struct OwnMeta(Arc<Inner>);

struct Inner {
    fields: Mutex<Fields>,
    /// Told when the node offers something else.
    changed: Notify,
}

#[derive(Default)]
struct Fields {
    user: BTreeMap<String, String>,
    offers: BTreeMap<String, String>,
}

impl OwnMeta {
    /// The user's fields alone.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if they are not acceptable.
    pub(in crate::cluster) fn new(user: BTreeMap<String, String>) -> Result<Self> {
        Heartbeat::check_meta(&user)?;
        let fields = Mutex::new(Fields { user, ..Fields::default() });
        Ok(Self(Arc::new(Inner { fields, changed: Notify::new() })))
    }

    /// Changes the user's fields, and does `then` before anybody else changes
    /// them.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if they are not acceptable; then nothing is changed.
    pub(in crate::cluster) fn update(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, String>),
        then: impl FnOnce(),
    ) -> Result<()> {
        let mut fields = self.0.lock();
        let mut user = fields.user.clone();
        change(&mut user);
        Heartbeat::check_meta(&user)?;
        fields.check_user(&user)?;
        fields.user = user;
        then();
        Ok(())
    }

    /// All fields, as they are sent.
    pub(in crate::cluster) fn fields(&self) -> Vec<String> {
        let fields = self.0.lock();
        let all = fields.user.iter().chain(&fields.offers);
        all.map(|(key, value)| format!("{key}={value}")).collect()
    }

    /// Waits until the node offers something else than before.
    pub(in crate::cluster) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Adds a field, until what this gives is dropped.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if it is no name; [`ErrorKind::Busy`] if it is
    /// offered already; [`ErrorKind::TooLarge`] if the record has no room for it.
    pub(in crate::cluster) fn offer(
        &self,
        what: &str,
        prefix: &str,
        name: &str,
        value: &str,
    ) -> Result<Offer> {
        name::check_name(what, name)?;
        let key = format!("{prefix}{name}");
        let mut fields = self.0.lock();
        if fields.offers.contains_key(&key) {
            let message = format!("{what}: this node has `{name}` already: end that one first");
            return Err(Error::new(ErrorKind::Busy, message));
        }
        fields.check_offer(&key, value)?;
        fields.offers.insert(key.clone(), value.to_owned());
        drop(fields);
        self.0.changed.notify_one();
        Ok(Offer { meta: self.clone(), key })
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Fields> {
        self.fields.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fields {
    /// Checks that the user's new fields leave room for what is offered.
    fn check_user(&self, user: &BTreeMap<String, String>) -> Result<()> {
        let (offers, taken) = (self.offers.len(), len(&self.offers));
        let fits = user.len() + offers <= Heartbeat::MAX_META
            && len(user) + taken <= Heartbeat::MAX_META_LEN;
        if fits {
            return Ok(());
        }
        let accepted = format!(
            "write at most {} fields of {} bytes in all (with one more than key and value for \
             each): the record also names {offers} services and channels of this node",
            Heartbeat::MAX_META.saturating_sub(offers),
            Heartbeat::MAX_META_LEN.saturating_sub(taken),
        );
        let value = format!("{} fields of {} bytes", user.len(), len(user));
        Err(Error::config("meta", value, accepted))
    }

    /// Checks that there is room for one more.
    fn check_offer(&self, key: &str, value: &str) -> Result<()> {
        let needs = key.len() + 1 + value.len();
        let bytes = Heartbeat::MAX_META_LEN
            .saturating_sub(len(&self.user))
            .saturating_sub(len(&self.offers));
        let fields = Heartbeat::MAX_META - (self.user.len() + self.offers.len());
        if fields > 0 && needs <= bytes {
            return Ok(());
        }
        let message = format!(
            "`{key}` takes a field of {needs} bytes in the node's record, which has room for \
             {fields} more fields and {bytes} more bytes: offer less, or say less in `meta`"
        );
        Err(Error::new(ErrorKind::TooLarge, message))
    }
}

/// The bytes of all fields.
fn len(fields: &BTreeMap<String, String>) -> usize {
    fields.iter().map(|(key, value)| key.len() + 1 + value.len()).sum()
}

/// Something that the node offers, in its record. Dropping this withdraws it.
#[must_use = "dropping this withdraws it"]
pub(crate) struct Offer {
    meta: OwnMeta,
    key: String,
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.meta.0.lock().offers.remove(&self.key);
        self.meta.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn offers_are_beside_the_users_fields_and_go_when_they_are_dropped() {
        let meta = OwnMeta::new(map(&[("role", "worker")])).unwrap();
        let resize = meta.offer("service", SERVICE, "resize", "2").unwrap();
        let again = meta.offer("service", SERVICE, "resize", "3").err().unwrap();
        assert_eq!(again.kind(), ErrorKind::Busy);
        let _jobs = meta.offer("channel", CHANNEL, "jobs", "1").unwrap();
        assert_eq!(meta.fields(), ["role=worker", "chan.jobs=1", "svc.resize=2"]);
        meta.update(BTreeMap::clear, || ()).unwrap();
        drop(resize);
        assert_eq!(meta.fields(), ["chan.jobs=1"]);
        let bad = meta.offer("service", SERVICE, "a b", "1").err().unwrap();
        assert_eq!(bad.kind(), ErrorKind::Config);
    }

    #[test]
    fn a_key_of_the_library_is_refused_to_the_user() {
        for key in ["svc.x", "chan.x", "sem.x", "casm.x", "svc."] {
            let error = OwnMeta::new(map(&[(key, "1")])).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.message().contains(key), "{error}");
            let meta = OwnMeta::new(map(&[("svc", "1"), ("channel", "1")])).unwrap();
            let told = std::cell::Cell::new(false);
            let error = meta.update(|m| drop(m.insert(key.into(), "1".into())), || told.set(true));
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Config);
            assert!(!told.get() && meta.fields().len() == 2);
        }
    }

    #[test]
    fn what_does_not_fit_names_the_room_that_is_left() {
        let long = "v".repeat(4000);
        let meta = OwnMeta::new(map(&[("k", &long)])).unwrap();
        // 4,002 bytes are taken.
        let _held = meta.offer("service", SERVICE, &"n".repeat(48), "1").unwrap();
        let error = meta.offer("service", SERVICE, &"m".repeat(48), "1").err().unwrap();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.message().contains("62 more fields and 40 more bytes"), "{error}");
        let error = meta.update(|m| drop(m.insert("l".into(), "v".repeat(40))), || ());
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("at most 63 fields of 4042 bytes"), "{error}");

        let meta = OwnMeta::new(BTreeMap::new()).unwrap();
        let name = |n: usize| format!("n{n}");
        let held: Vec<_> =
            (0..64).map(|n| meta.offer("service", SERVICE, &name(n), "1").unwrap()).collect();
        let error = meta.offer("service", SERVICE, "one-more", "1").err().unwrap();
        assert!(error.message().contains("room for 0 more fields"), "{error}");
        drop(held);
        let _held = meta.offer("service", SERVICE, "one-more", "1").unwrap();
    }
}
