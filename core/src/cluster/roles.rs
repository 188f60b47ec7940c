//! The roles that are proven of a peer.

use crate::{
    Error, Result,
    admit::{MAX_ROLES, is_role},
};
use libp2p::PeerId;
use std::{fmt, sync::Arc};

/// Says which roles are proven of a peer, as far as this node knows.
pub(crate) type RolesOf = Arc<dyn Fn(&PeerId) -> Roles + Send + Sync>;

/// For a node that knows of no roles.
pub(crate) fn no_roles() -> RolesOf {
    Arc::new(|_| Roles::default())
}

/// The roles that are proven of a peer, each once, in their order: a node has them
/// from elsewhere than what the peer says of itself. Clones are cheap; none takes no
/// memory.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Roles(Option<Arc<Vec<Box<str>>>>);

impl Roles {
    /// No roles.
    pub const NONE: &Self = &Self(None);

    /// Checks that a text can be a role.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if not.
    pub(crate) fn check_role(field: &str, text: &str) -> Result<()> {
        if is_role(text) {
            return Ok(());
        }
        let shown: String = text.chars().take(64).collect();
        let accepted = "write a role: 1 to 64 bytes, without spaces or control characters, such as \
                        `worker`";
        Err(Error::config(field, format!("{shown:?}"), accepted))
    }

    /// The roles.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.list().iter().map(|role| &**role)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether this is one of them.
    pub fn contains(&self, role: &str) -> bool {
        self.list().binary_search_by(|own| (**own).cmp(role)).is_ok()
    }

    /// The one number `nth`; an empty text beyond the last.
    pub(in crate::cluster) fn get(&self, nth: usize) -> &str {
        self.list().get(nth).map_or("", |role| role)
    }

    fn list(&self) -> &[Box<str>] {
        self.0.as_ref().map_or(&[], |list| list)
    }
}

impl<S: Into<Box<str>>> FromIterator<S> for Roles {
    /// Puts them in their order. What can be no role, and what is more than
    /// [`MAX_ROLES`], is left out.
    fn from_iter<I: IntoIterator<Item = S>>(roles: I) -> Self {
        let roles = roles.into_iter().map(Into::into).filter(|role| is_role(role));
        let mut list: Vec<Box<str>> = roles.collect();
        list.sort_unstable();
        list.dedup();
        list.truncate(MAX_ROLES);
        list.shrink_to_fit();
        Self((!list.is_empty()).then(|| Arc::new(list)))
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(roles: &Roles) -> Vec<&str> {
        roles.iter().collect()
    }

    #[test]
    fn they_are_in_order_and_each_is_there_once() {
        let roles: Roles = ["worker", "admin", "worker"].into_iter().collect();
        assert_eq!(list(&roles), ["admin", "worker"]);
        assert!(roles.contains("admin") && roles.contains("worker"));
        assert!(!roles.contains("work") && !roles.contains("") && !roles.contains("zoo"));
        assert_eq!((roles.get(1), roles.get(2), roles.len()), ("worker", "", 2));
    }

    #[test]
    fn none_takes_no_memory() {
        let none: Roles = Vec::<String>::new().into_iter().collect();
        assert!(none.is_empty() && none == Roles::default() && none == *Roles::NONE);
        assert_eq!(size_of::<Roles>(), size_of::<usize>());
        assert!(list(&none).is_empty());
    }

    #[test]
    fn what_is_no_role_is_left_out() {
        let long = "x".repeat(65);
        for bad in ["", " ", "a b", "a\n", "\u{a0}", "\u{7f}", &long] {
            assert!(Roles::from_iter([bad]).is_empty(), "{bad:?}");
            let error = Roles::check_role("allow", bad).unwrap_err();
            assert!(error.message().starts_with("allow"), "{error}");
        }
        let longest = "x".repeat(64);
        for good in ["a", "a:b=c,d", "!", "b\u{fc}ro", &longest] {
            assert_eq!(list(&Roles::from_iter([good])), [good]);
            assert!(Roles::check_role("allow", good).is_ok());
        }
        assert_eq!(Roles::from_iter((0..40).map(|n| n.to_string())).len(), MAX_ROLES);
    }
}
