//! Peers that mean harm, or don't work.

mod closing;
mod held;
mod hostile;
mod identify;
