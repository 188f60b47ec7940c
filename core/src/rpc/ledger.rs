//! What a stream's calls and capabilities amount to, told by its messages
//! alone: a copy of the four tables that the RPC system keeps and does not
//! bound (<https://capnproto.org/rpc.html>).

use super::limits::Limits;
use capnp::{Error, Result, struct_list};
use capnp_rpc::rpc_capnp::{
    cap_descriptor, message, message_target, promised_answer, resolve, return_,
};
use std::collections::{HashMap, VecDeque};
use tokio::time::Instant;

/// Capabilities in one message, and steps of one path to a capability.
const MAX_TABLE: u32 = 1024;
const MAX_PATH: u32 = 64;

/// What is to be done with a message that came in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// The RPC system gets it.
    Pass,
    /// It is a call too many: it is answered with an error, and the
    /// capabilities that came with it are released.
    Refuse {
        /// The call's number.
        answer: u32,
        /// The capabilities.
        release: Vec<u32>,
    },
}

#[derive(Debug, Default)]
struct Call {
    /// When it came in.
    since: Option<Instant>,
    returned: bool,
    finished: bool,
    exports: Vec<u32>,
}

/// The calls and capabilities of one stream.
#[derive(Debug)]
pub(super) struct Ledger {
    calls: usize,
    capabilities: usize,
    answers: HashMap<u32, Call>,
    /// The calls that came in, in that order, and some that are answered.
    order: VecDeque<(Instant, u32)>,
    questions: HashMap<u32, Call>,
    exports: HashMap<u32, u64>,
    imports: HashMap<u32, u64>,
}

impl Ledger {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            calls: limits.calls,
            capabilities: limits.capabilities,
            answers: HashMap::new(),
            order: VecDeque::new(),
            questions: HashMap::new(),
            exports: HashMap::new(),
            imports: HashMap::new(),
        }
    }

    /// Calls of either side that have not returned.
    pub(super) fn under_way(&self) -> usize {
        let open = |calls: &HashMap<u32, Call>| calls.values().filter(|c| !c.returned).count();
        open(&self.answers) + open(&self.questions)
    }

    /// Calls that came in and are not finished.
    pub(super) fn calls(&self) -> usize {
        self.answers.len()
    }

    /// When the call came in that has waited longest for its answer.
    pub(super) fn oldest(&mut self) -> Option<Instant> {
        loop {
            let &(since, id) = self.order.front()?;
            let waits = |call: &Call| call.since == Some(since) && !call.returned;
            if self.answers.get(&id).is_some_and(waits) {
                return Some(since);
            }
            self.order.pop_front();
        }
    }

    /// A call has come in.
    fn begin(&mut self, answer: u32) {
        let now = Instant::now();
        // No more than twice as many as wait.
        if self.order.len() >= 2 * self.calls.max(16) {
            let Self { order, answers, .. } = self;
            order.retain(|(since, id)| {
                answers.get(id).is_some_and(|call| call.since == Some(*since) && !call.returned)
            });
        }
        self.order.push_back((now, answer));
        self.answers.insert(answer, Call { since: Some(now), ..Call::default() });
    }

    /// Takes note of a message that came in. `full` says that there is no room
    /// for another call for other reasons.
    ///
    /// # Errors
    /// If the message cannot be read, or breaks a limit in a way that ends the
    /// stream.
    pub(super) fn incoming(&mut self, message: message::Reader, full: bool) -> Result<Admission> {
        let full =
            full || self.answers.len() >= self.calls || self.exports.len() >= self.capabilities;
        match message.which() {
            Ok(message::Bootstrap(bootstrap)) => {
                let answer = bootstrap?.get_question_id();
                if full {
                    return Ok(Admission::Refuse { answer, release: Vec::new() });
                }
                self.begin(answer);
            }
            Ok(message::Call(call)) => {
                let call = call?;
                let answer = call.get_question_id();
                if let message_target::PromisedAnswer(path) = call.get_target()?.which()? {
                    check_path(path?)?;
                }
                let caps = sent_caps(call.get_params()?.get_cap_table()?)?;
                if full {
                    return Ok(Admission::Refuse { answer, release: caps });
                }
                self.import(&caps)?;
                self.begin(answer);
            }
            Ok(message::Return(ret)) => {
                let ret = ret?;
                let id = ret.get_answer_id();
                let cancelled = self.questions.get(&id).is_none_or(|q| q.finished);
                if let (false, return_::Results(results)) = (cancelled, ret.which()?) {
                    let caps = sent_caps(results?.get_cap_table()?)?;
                    self.import(&caps)?;
                }
                if let Some(question) = self.questions.get_mut(&id) {
                    question.returned = true;
                    if question.finished || ret.get_no_finish_needed() {
                        self.questions.remove(&id);
                    }
                }
            }
            Ok(message::Finish(finish)) => {
                let finish = finish?;
                let id = finish.get_question_id();
                if let Some(answer) = self.answers.get_mut(&id) {
                    answer.finished = true;
                    let exports = match finish.get_release_result_caps() {
                        true => std::mem::take(&mut answer.exports),
                        false => Vec::new(),
                    };
                    if answer.returned {
                        self.answers.remove(&id);
                    }
                    for id in exports {
                        drop_refs(&mut self.exports, id, 1);
                    }
                }
            }
            Ok(message::Resolve(resolve)) => {
                if let resolve::Cap(cap) = resolve?.which()? {
                    let caps: Vec<_> = sent_cap(cap?)?.into_iter().collect();
                    self.import(&caps)?;
                }
            }
            Ok(message::Release(release)) => {
                let release = release?;
                drop_refs(&mut self.exports, release.get_id(), release.get_reference_count());
            }
            Ok(message::Disembargo(disembargo)) => {
                if let message_target::PromisedAnswer(path) = disembargo?.get_target()?.which()? {
                    check_path(path?)?;
                }
            }
            _ => (),
        }
        Ok(Admission::Pass)
    }

    /// Takes note of a message that goes out.
    ///
    /// # Errors
    /// If the message cannot be read.
    pub(super) fn outgoing(&mut self, message: message::Reader) -> Result<()> {
        match message.which() {
            Ok(message::Bootstrap(bootstrap)) => {
                self.questions.insert(bootstrap?.get_question_id(), Call::default());
            }
            Ok(message::Call(call)) => {
                let call = call?;
                let exports = sent_caps(call.get_params()?.get_cap_table()?)?;
                self.export(&exports);
                let id = call.get_question_id();
                self.questions.insert(id, Call { exports, ..Call::default() });
            }
            Ok(message::Return(ret)) => {
                let ret = ret?;
                let id = ret.get_answer_id();
                let exports = match ret.which()? {
                    return_::Results(results) => sent_caps(results?.get_cap_table()?)?,
                    _ => Vec::new(),
                };
                self.export(&exports);
                if let Some(answer) = self.answers.get_mut(&id) {
                    answer.returned = true;
                    answer.exports = exports;
                    if answer.finished || ret.get_no_finish_needed() {
                        self.answers.remove(&id);
                    }
                }
            }
            Ok(message::Finish(finish)) => {
                let id = finish?.get_question_id();
                if let Some(question) = self.questions.get_mut(&id) {
                    question.finished = true;
                    if question.returned {
                        self.questions.remove(&id);
                    }
                }
            }
            Ok(message::Resolve(resolve)) => {
                if let resolve::Cap(cap) = resolve?.which()? {
                    let exports: Vec<_> = sent_cap(cap?)?.into_iter().collect();
                    self.export(&exports);
                }
            }
            Ok(message::Release(release)) => {
                let release = release?;
                drop_refs(&mut self.imports, release.get_id(), release.get_reference_count());
            }
            _ => (),
        }
        Ok(())
    }

    fn export(&mut self, ids: &[u32]) {
        for &id in ids {
            *self.exports.entry(id).or_default() += 1;
        }
    }

    fn import(&mut self, ids: &[u32]) -> Result<()> {
        for &id in ids {
            *self.imports.entry(id).or_default() += 1;
        }
        if self.imports.len() > self.capabilities {
            return Err(Error::overloaded(format!(
                "more than {} capabilities were passed on one stream: release those that are not \
                 used any more",
                self.capabilities
            )));
        }
        Ok(())
    }
}

fn drop_refs(table: &mut HashMap<u32, u64>, id: u32, count: u32) {
    if let Some(refs) = table.get_mut(&id) {
        *refs = refs.saturating_sub(count.into());
        if *refs == 0 {
            table.remove(&id);
        }
    }
}

/// The capabilities that their sender hosts, by its numbers.
fn sent_caps(table: struct_list::Reader<cap_descriptor::Owned>) -> Result<Vec<u32>> {
    // A list of empty structures has any length in no bytes.
    if table.len() > MAX_TABLE {
        return Err(Error::overloaded(format!(
            "{} capabilities in one message: {MAX_TABLE} are accepted",
            table.len()
        )));
    }
    let mut caps = Vec::new();
    for descriptor in table {
        caps.extend(sent_cap(descriptor)?);
    }
    Ok(caps)
}

fn sent_cap(descriptor: cap_descriptor::Reader) -> Result<Option<u32>> {
    Ok(match descriptor.which()? {
        cap_descriptor::SenderHosted(id) | cap_descriptor::SenderPromise(id) => Some(id),
        cap_descriptor::ReceiverAnswer(path) => {
            check_path(path?)?;
            None
        }
        _ => None,
    })
}

fn check_path(path: promised_answer::Reader) -> Result<()> {
    let steps = path.get_transform()?.len();
    if steps > MAX_PATH {
        return Err(Error::overloaded(format!(
            "a path of {steps} steps to a capability: {MAX_PATH} are accepted"
        )));
    }
    Ok(())
}
