//! What was taken is renewed until it is done or given back.

use super::{Link, Op, Out, Outcome, Outs, Party, Request, Ticket, Value, What};
use std::time::Duration;

/// How often jobs are renewed: three times in their time.
const PACE: Duration = Duration::from_secs(3);

/// A job that is being ended.
#[derive(Debug)]
pub(super) struct Finishing {
    pub(super) lease: u64,
    done: bool,
    pub(super) deadline: Option<Duration>,
    pub(super) was_asked: bool,
}

impl<V: Value, T: Ticket> Party<V, T> {
    pub(super) fn keep_job(&mut self, now: Duration, lease: u64) {
        if self.jobs.is_empty() {
            self.renew_at = now + PACE;
        }
        self.jobs.insert(lease);
    }

    /// Ends a job: it is done, or goes back.
    pub(crate) fn finish(
        &mut self,
        now: Duration,
        lease: u64,
        done: bool,
        deadline: Option<Duration>,
        out: &mut Outs<V, T>,
    ) -> Op {
        let op = self.op();
        if !self.jobs.remove(&lease) {
            out.push(Out::Done(op, Outcome::Finished(false)));
            return op;
        }
        self.finishing.insert(op, Finishing { lease, done, deadline, was_asked: false });
        if self.link == Link::Up {
            self.ask_finish(now, op, out);
        }
        self.reach(now, out);
        op
    }

    fn ask_finish(&mut self, now: Duration, op: Op, out: &mut Outs<V, T>) {
        let Some(finishing) = self.finishing.get_mut(&op) else { return };
        finishing.was_asked = true;
        let lease = finishing.lease;
        let request = match finishing.done {
            true => Request::Confirm { lease },
            false => Request::GiveBack { lease },
        };
        self.call(now, What::Finish(op), request, out);
    }

    pub(super) fn finish_again(&mut self, now: Duration, out: &mut Outs<V, T>) {
        let ops: Vec<_> = self.finishing.keys().copied().collect();
        for op in ops {
            self.ask_finish(now, op, out);
        }
    }

    pub(super) fn finished(&mut self, op: Op, ours: bool, out: &mut Outs<V, T>) {
        if self.finishing.remove(&op).is_some() {
            out.push(Out::Done(op, Outcome::Finished(ours)));
        }
    }

    /// With the connection, the owner has taken back what was to be given back.
    pub(super) fn given_back_with_it(&mut self, out: &mut Outs<V, T>) {
        let back = self.finishing.extract_if(.., |_, finishing| !finishing.done);
        for (op, _) in back {
            out.push(Out::Done(op, Outcome::Finished(true)));
        }
    }

    pub(super) fn lost(&mut self, leases: &[u64], out: &mut Outs<V, T>) {
        for lease in leases {
            if self.jobs.remove(lease) {
                out.push(Out::Lost(*lease));
            }
        }
    }

    /// When the jobs are to be renewed.
    pub(super) fn renewal(&self) -> Option<Duration> {
        (!self.jobs.is_empty()).then_some(self.renew_at)
    }

    pub(super) fn renew_jobs(&mut self, now: Duration, out: &mut Outs<V, T>) {
        if self.renewal().is_none_or(|at| now < at) || self.link != Link::Up {
            return;
        }
        self.renew_at = now + PACE;
        let leases = self.jobs.iter().copied().collect();
        self.call(now, What::Renew, Request::Renew { leases }, out);
    }
}
