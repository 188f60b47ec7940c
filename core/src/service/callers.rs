//! Who may call a service.

use crate::{PeerId, cluster::RolesOf};
use std::sync::Arc;

/// Which roles suffice; none: everybody may call.
#[derive(Clone)]
pub(super) struct Allowed(Arc<[String]>);

impl Allowed {
    pub(super) fn new(roles: &[String]) -> Self {
        Self(roles.into())
    }
}

/// What is known of those who call.
pub(super) struct Callers {
    pub(super) own: PeerId,
    pub(super) roles: RolesOf,
}

impl Callers {
    /// Checks that a peer may call. This node itself always may: who can have it call
    /// has the handler too.
    ///
    /// # Errors
    /// Why not, in words for the caller.
    pub(super) fn check(&self, peer: &PeerId, allowed: &Allowed) -> Result<(), String> {
        let Allowed(allowed) = allowed;
        if allowed.is_empty() || *peer == self.own {
            return Ok(());
        }
        let roles = (self.roles)(peer);
        if allowed.iter().any(|role| roles.contains(role)) {
            return Ok(());
        }
        let wanted: Vec<_> = allowed.iter().map(|role| format!("`{role}`")).collect();
        let wanted = wanted.join(" or ");
        Err(format!(
            "it is only for callers with the role {wanted}, which is not proven of {peer}: it must \
             be in the certificate of who calls"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Roles, no_roles};

    #[test]
    fn one_of_the_roles_suffices_and_the_own_node_needs_none() {
        let [own, worker, other] = [(); 3].map(|()| PeerId::random());
        let roles = move |peer: &PeerId| match *peer == worker {
            true => Roles::from_iter(["worker", "x"]),
            false => Roles::from_iter(["works", "wor"]),
        };
        let callers = Callers { own, roles: Arc::new(roles) };
        let of = |roles: &[&str]| Allowed(roles.iter().map(|role| role.to_string()).collect());
        for allowed in [of(&["worker"]), of(&["head", "worker"]), of(&[])] {
            assert!(
                callers.check(&worker, &allowed).is_ok() && callers.check(&own, &allowed).is_ok()
            );
        }
        assert!(callers.check(&other, &of(&[])).is_ok());
        let why = callers.check(&other, &of(&["head", "worker"])).unwrap_err();
        assert!(why.contains("`head` or `worker`") && why.contains(&other.to_string()), "{why}");
        assert!(callers.check(&worker, &of(&["head"])).is_err());
        // Without certificates there is nobody else.
        let callers = Callers { own, roles: no_roles() };
        assert!(callers.check(&worker, &of(&["worker"])).is_err());
        assert!(callers.check(&own, &of(&["worker"])).is_ok());
    }
}
