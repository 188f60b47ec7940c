//! What there is once for a process, and anew in a child that it forks.

use once_cell::race::OnceBox;

/// One value for each process. A forked child has none of its parent's threads, so it
/// gets a value of its own; the parent's is left as it is, because its locks may be
/// held by threads that don't exist in the child.
pub struct PerProcess<T: 'static>(OnceBox<Link<T>>);

/// The value of a process, to which those of its descendants are linked: the list has no
/// lock that a fork could leave locked.
struct Link<T: 'static> {
    pid: u32,
    value: T,
    child: OnceBox<Self>,
}

impl<T: Default + Send + Sync> PerProcess<T> {
    /// None yet.
    #[expect(clippy::new_without_default, reason = "it is made in statics")]
    pub const fn new() -> Self {
        Self(OnceBox::new())
    }

    /// That of this process, which the first call makes.
    pub fn get(&self) -> &T {
        self.of(std::process::id())
    }

    fn of(&self, pid: u32) -> &T {
        let new = || Box::new(Link { pid, value: T::default(), child: OnceBox::new() });
        let mut link = self.0.get_or_init(new);
        while let Some(child) = link.child.get() {
            link = child;
        }
        let link = if link.pid == pid { link } else { link.child.get_or_init(new) };
        &link.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{ptr, sync::Mutex};

    #[test]
    fn a_child_has_its_own_and_waits_for_no_lock_of_its_parent() {
        static VALUES: PerProcess<Mutex<u8>> = PerProcess::new();
        let parent = VALUES.of(1);
        let held = parent.lock().unwrap();
        assert!(ptr::eq(parent, VALUES.of(1)));
        let child = VALUES.of(2);
        *child.try_lock().expect("nobody has it") = 2;
        assert!(ptr::eq(child, VALUES.of(2)));
        assert_eq!(*VALUES.of(3).lock().unwrap(), 0);
        drop(held);
    }
}
