//! What logs and terminals need that are fed by the network: text that is
//! harmless to show, and an end to repetition. For the program and the bindings.

mod clean;
mod limit;
mod repeats;

pub use clean::{clean, is_harmful};
pub use limit::{LeftOut, Limit, TARGET, TELL_EVERY};
use repeats::Repeats;
