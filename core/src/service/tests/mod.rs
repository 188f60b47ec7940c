//! Peers that mean harm, or don't work.

mod held;
mod hostile;
mod identify;
