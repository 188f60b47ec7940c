//! What is pure of it.

use super::*;

#[test]
fn what_is_given_up_is_not_sent_and_what_is_sent_is_not_given_up() {
    let begun = Begun::default();
    assert!(begun.give_up() && !begun.begin() && !begun.is_begun());
    let begun = Begun::default();
    assert!(begun.begin() && !begun.give_up() && begun.is_begun());
}

#[test]
fn parts_that_wait_are_bounded() {
    let waiting = Rc::default();
    let parts: Vec<_> = (0..10).map_while(|_| Waiting::add(&waiting, 64 << 10)).collect();
    assert_eq!(parts.len(), 4);
    drop(parts);
    assert_eq!(waiting.get(), 0);
}
