//! The bytes of all streams together, and each one's share of them.

use prometheus_client::metrics::gauge::Gauge;
use std::{cell::Cell, rc::Rc};

/// What all streams may hold.
pub(super) struct Budget {
    limit: usize,
    used: Cell<usize>,
    accounts: Cell<usize>,
    gauge: Gauge,
}

impl Budget {
    /// A budget of so many bytes. What is used of it is shown.
    pub(super) fn new(limit: usize, gauge: Gauge) -> Rc<Self> {
        Rc::new(Self { limit, used: Cell::new(0), accounts: Cell::new(0), gauge })
    }

    /// An account for one stream.
    pub(super) fn account(self: &Rc<Self>) -> Rc<Account> {
        self.accounts.set(self.accounts.get() + 1);
        Rc::new(Account { budget: self.clone(), used: Cell::new(0) })
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used.get()
    }

    fn set(&self, used: usize) {
        // Far below 2^63 each.
        self.gauge.inc_by(used as i64 - self.used.get() as i64);
        self.used.set(used);
    }
}

/// The bytes of one stream.
pub(super) struct Account {
    budget: Rc<Budget>,
    used: Cell<usize>,
}

impl Account {
    /// So many bytes more are held.
    pub(super) fn add(&self, bytes: usize) {
        self.used.set(self.used.get().saturating_add(bytes));
        self.budget.set(self.budget.used.get().saturating_add(bytes));
    }

    /// So many bytes were let go.
    pub(super) fn sub(&self, bytes: usize) {
        self.used.set(self.used.get().saturating_sub(bytes));
        self.budget.set(self.budget.used.get().saturating_sub(bytes));
    }

    /// Whether there is little left, and the stream has more than its share: the
    /// first half of the budget is for whoever needs it, the second is shared
    /// out.
    pub(super) fn is_over(&self) -> bool {
        let half = self.budget.limit / 2;
        self.budget.used.get() > half && self.used.get() > half / self.budget.accounts.get().max(1)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.sub(self.used.get());
        self.budget.accounts.set(self.budget.accounts.get().saturating_sub(1));
    }
}

/// Bytes that are in use and change in number.
pub(super) struct Part {
    account: Rc<Account>,
    bytes: usize,
}

impl Part {
    pub(super) fn new(account: Rc<Account>) -> Self {
        Self { account, bytes: 0 }
    }

    pub(super) fn set(&mut self, bytes: usize) {
        self.account.sub(self.bytes);
        self.account.add(bytes);
        self.bytes = bytes;
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_half_of_it_on_the_budget_is_shared_out() {
        let budget = Budget::new(1000, Gauge::default());
        let (one, other) = (budget.account(), budget.account());
        one.add(400);
        assert!(!one.is_over(), "there is enough");
        other.add(101);
        assert!(one.is_over() && !other.is_over());
        other.add(150);
        assert!(other.is_over());
        one.sub(200);
        assert!(!one.is_over() && !other.is_over());
        drop(one);
        let mut part = Part::new(other.clone());
        part.set(500);
        assert!(other.is_over(), "one alone has no more than half and its share");
        part.set(3);
        assert_eq!(budget.used(), 254);
        drop((part, other));
        assert_eq!((budget.used(), budget.gauge.get()), (0, 0));
    }
}
