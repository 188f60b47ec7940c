//! Requests that are sent, or given up.

use super::*;

#[test]
fn what_is_given_up_is_not_sent_and_what_is_sent_is_not_given_up() {
    let begun = Begun::default();
    assert!(begun.give_up() && !begun.begin() && !begun.is_begun());
    let begun = Begun::default();
    assert!(begun.begin() && !begun.give_up() && begun.is_begun());
}
