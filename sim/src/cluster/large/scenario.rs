//! What happens to a large cluster.

use super::world::{BEGIN, SECOND, World};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// What happens to a large cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Nothing.
    Steady,
    /// Processes crash, one after the other.
    Crash,
    /// Hosts crash, one after the other.
    Host,
    /// All start within 10 s with empty views, each with its connections at once.
    Flash,
    /// 500 hosts, or a twentieth of all if that is less, lose power at once.
    Rack,
    /// Two halves that don't reach each other for 10 minutes.
    Halves,
    /// 1 % of all stop and start again all the time.
    Flap,
    /// 1 % of all answer no pings and take no connections, one after the other, but are heard.
    Mute,
    /// 5 % of all accuse everybody.
    Liars,
    /// 20,000 identities come that are nobody, for 10 minutes.
    Sybils,
}

impl Scenario {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Crash => "crash",
            Self::Host => "host",
            Self::Flash => "flash",
            Self::Rack => "rack",
            Self::Halves => "halves",
            Self::Flap => "flap",
            Self::Mute => "mute",
            Self::Liars => "liars",
            Self::Sybils => "sybils",
        }
    }

    /// How long it goes on, unless told.
    pub fn time(self) -> Duration {
        match self {
            Self::Steady | Self::Liars => MINUTE,
            Self::Crash | Self::Host => CRASHES * PAUSE + 20 * SECOND,
            Self::Flash | Self::Rack | Self::Mute => 2 * MINUTE,
            Self::Halves | Self::Sybils => 12 * MINUTE,
            Self::Flap => 5 * MINUTE,
        }
    }
}

/// How many crash one after the other, and how soon.
const CRASHES: u32 = 10;
const PAUSE: Duration = Duration::from_secs(4);
/// When it begins.
pub const FIRST: Duration = Duration::from_secs(3);

/// The next thing happens.
pub fn next(world: &mut World<'_>, step: u32) {
    let n = world.args.nodes;
    match (world.args.scenario(), step) {
        (scenario @ (Scenario::Crash | Scenario::Host), _) => {
            let up = world.sample(n).into_iter().find(|node| world.up[*node]);
            if let Some(node) = up {
                world.crash(node, scenario == Scenario::Host);
            }
            if step + 1 < CRASHES {
                world.next_at(world.now + PAUSE, step + 1);
            }
        }
        (Scenario::Rack, 0) => {
            for node in world.sample(500.min(n / 20).max(1)) {
                world.crash(node, true);
            }
        }
        (Scenario::Halves, 0) => {
            world.part(|node| (node % 2) as u8);
            world.next_at(world.now + 10 * MINUTE, 1);
        }
        (Scenario::Halves, 1) => world.part(|_| 0),
        (Scenario::Flap, 0) => {
            for node in world.sample((n / 100).max(1)) {
                let (mut at, end) = (world.now, BEGIN + Scenario::Flap.time() - 30 * SECOND);
                while at < end {
                    let stop = at + SECOND.mul_f64(5.0 + 25.0 * world.random());
                    let start = stop + SECOND.mul_f64(2.0 + 18.0 * world.random());
                    world.stop_at(node, stop, start);
                    at = start;
                }
            }
        }
        (Scenario::Mute, _) => {
            let part = (n / 1000).max(1);
            for node in world.sample(part) {
                world.mute(node);
            }
            if step < 9 {
                world.next_at(world.now + 8 * SECOND, step + 1);
            }
        }
        (Scenario::Liars, 0) => {
            for node in world.sample((n / 20).max(1)) {
                world.lies(node);
            }
        }
        (Scenario::Sybils, 0) => {
            world.strangers = 20_000;
            world.next_at(world.now + 8 * MINUTE, 1);
        }
        (Scenario::Sybils, 1) => {
            let node = world.sample(1)[0];
            world.crash(node, false);
            world.next_at(world.now + 2 * MINUTE, 2);
        }
        (Scenario::Sybils, 2) => world.strangers = 0,
        _ => {}
    }
}
