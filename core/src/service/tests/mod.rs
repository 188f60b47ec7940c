//! Peers that mean harm, or don't work.

mod hostile;
mod identify;
