//! What becomes of a message that came on a topic. Pure: the time is an argument.

use super::{
    rates::{Over, Rates},
    window::Window,
};
use libp2p::PeerId;
use std::time::Duration;

/// Why a message is neither delivered nor relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There are too many, or too many bytes.
    Over(Over),
    /// It is this node's own.
    Own,
    /// It has more bytes than the topic takes.
    TooLarge,
    /// It was delivered already.
    Replay,
    /// No record of its source is in the view.
    NoRecord,
    /// The record of its source is not one that the topic takes.
    NotAccepted,
    /// The validator said so.
    Ignored,
    /// The validator said that it is bad.
    Rejected,
    /// The validator panicked.
    Panicked,
}

impl Refusal {
    /// The reason by which refused messages are counted.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Over(over) => over.label(),
            Self::Own => "own",
            Self::TooLarge => "too-large",
            Self::Replay => "replay",
            Self::NoRecord => "no-record",
            Self::NotAccepted => "not-accepted",
            Self::Ignored => "ignored",
            Self::Rejected => "rejected",
            Self::Panicked => "validator-panicked",
        }
    }
}

impl From<Over> for Refusal {
    fn from(over: Over) -> Self {
        Self::Over(over)
    }
}

/// A message that came.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) source: &'a PeerId,
    pub(super) seq: u64,
    /// The bytes of its data.
    pub(super) len: usize,
    /// Who passed it on.
    pub(super) from: &'a PeerId,
}

/// Judges the messages of one topic.
pub(super) struct Judge {
    own: PeerId,
    max_data: usize,
    rates: Rates,
    window: Window,
}

impl Judge {
    pub(super) fn new(own: PeerId, max_data: usize) -> Self {
        Self { own, max_data, rates: Rates::default(), window: Window::default() }
    }

    /// Whether a message is delivered and relayed. `accepted` says whether its
    /// source is one that the topic takes, `valid` whether the program takes it:
    /// it costs most, and comes last.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn judge(
        &mut self,
        arrival: Arrival<'_>,
        now: Duration,
        accepted: impl FnOnce() -> Result<(), Refusal>,
        valid: impl FnOnce() -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let Arrival { source, seq, len, from } = arrival;
        // Who plays something again pays for it himself, and not its source.
        self.rates.brings(from, len, now)?;
        if *source == self.own {
            return Err(Refusal::Own);
        }
        if len > self.max_data {
            return Err(Refusal::TooLarge);
        }
        if self.window.contains(source, seq, now) {
            return Err(Refusal::Replay);
        }
        accepted()?;
        self.rates.says(source, len, now)?;
        valid()?;
        self.window.insert(source, seq, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    fn good() -> Result<(), Refusal> {
        Ok(())
    }

    #[test]
    fn a_message_is_delivered_once_whoever_brings_it_and_in_whatever_order() {
        let (own, source) = (PeerId::random(), PeerId::random());
        let mut judge = Judge::new(own, 100);
        let mut deliver = |source: &PeerId, seq, len| {
            let arrival = Arrival { source, seq, len, from: &PeerId::random() };
            judge.judge(arrival, NOW, good, good)
        };
        for seq in [9, 3, u64::MAX, 0] {
            assert_eq!(deliver(&source, seq, 100), Ok(()));
            assert_eq!(deliver(&source, seq, 100), Err(Refusal::Replay));
            assert_eq!(deliver(&source, seq, 7), Err(Refusal::Replay));
        }
        assert_eq!(deliver(&PeerId::random(), 9, 0), Ok(()));
        assert_eq!(deliver(&source, 1, 101), Err(Refusal::TooLarge));
        assert_eq!(deliver(&own, 1, 1), Err(Refusal::Own));
    }

    #[test]
    fn what_is_not_taken_now_may_be_taken_later() {
        let (source, from) = (PeerId::random(), PeerId::random());
        let mut judge = Judge::new(PeerId::random(), 100);
        let arrival = Arrival { source: &source, seq: 1, len: 1, from: &from };
        let no_record = || Err(Refusal::NoRecord);
        let never = || unreachable!("it is asked only of what is taken");
        assert_eq!(judge.judge(arrival, NOW, no_record, never), Err(Refusal::NoRecord));
        let ignored = judge.judge(arrival, NOW, good, || Err(Refusal::Ignored));
        assert_eq!(ignored, Err(Refusal::Ignored));
        assert_eq!(judge.judge(arrival, NOW, good, good), Ok(()));
        assert_eq!(judge.judge(arrival, NOW, good, never), Err(Refusal::Replay));
    }

    #[test]
    fn replays_cost_who_brings_them_and_not_their_source() {
        let (source, replayer, honest) = (PeerId::random(), PeerId::random(), PeerId::random());
        let mut judge = Judge::new(PeerId::random(), 100);
        let mut bring = |from: &PeerId, seq| {
            let arrival = Arrival { source: &source, seq, len: 1, from };
            judge.judge(arrival, NOW, good, good)
        };
        assert_eq!(bring(&honest, 0), Ok(()));
        let mut over = 0;
        for _ in 0..150_000 {
            match bring(&replayer, 0) {
                Err(Refusal::Replay) => {}
                Err(Refusal::Over(Over::PeerMessages)) => over += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(over, 50_000);
        assert_eq!(bring(&honest, 1), Ok(()));
    }
}
