//! What members said of their calls, and whether it fits together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What a handler fails with, at times.
pub const ON_PURPOSE: &str = "on purpose";

/// The calls of all members, by their ids.
#[derive(Default)]
pub struct Ledger {
    calls: HashMap<String, Call>,
    /// Those that were told to leave, and whose calls may be called off.
    leaving: BTreeSet<String>,
    /// Those that were killed, and whose calls may have no end.
    killed: BTreeSet<String>,
    problems: Vec<String>,
}

#[derive(Default)]
struct Call {
    caller: String,
    /// Whether it may be worked on twice.
    again: bool,
    /// Who has begun to work on it, as often as they have.
    begun: Vec<String>,
    end: Option<End>,
}

enum End {
    Answered { by: String },
    Failed { kind: String, message: String },
}

impl Ledger {
    /// Takes note of a line that a member said. False if it is none of these:
    ///
    /// `call ID once|again`, `began ID`, `ok ID BY`, `failed ID KIND MESSAGE`,
    /// `wrong WHAT`.
    pub fn note(&mut self, member: &str, line: &str) -> bool {
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (id, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        match what {
            "call" => {
                let call = self.calls.entry(id.to_owned()).or_default();
                (call.caller, call.again) = (member.to_owned(), rest == "again");
            }
            "began" => {
                self.calls.entry(id.to_owned()).or_default().begun.push(member.to_owned());
            }
            "ok" => self.ends(id, End::Answered { by: rest.to_owned() }),
            "failed" => {
                let (kind, message) = rest.split_once(' ').unwrap_or((rest, ""));
                let (kind, message) = (kind.to_owned(), message.to_owned());
                self.ends(id, End::Failed { kind, message });
            }
            "wrong" => self.problems.push(format!("{member}: {id} {rest}")),
            _ => return false,
        }
        true
    }

    fn ends(&mut self, id: &str, end: End) {
        let call = self.calls.entry(id.to_owned()).or_default();
        if call.end.replace(end).is_some() {
            self.problems.push(format!("{id} ended twice"));
        }
    }

    /// What is known of a member of which nothing is heard any more: its calls that have
    /// not ended, and what was wrong until now.
    pub fn last_of(&self, member: &str) -> String {
        let out = self.calls.iter().filter(|(_, call)| call.caller == member && call.end.is_none());
        let out = out.map(|(id, call)| format!("{id} (begun by {:?})", call.begun));
        let (out, problems) = (out.collect::<Vec<_>>().join(", "), self.problems.join("; "));
        format!("its calls that have not ended: [{out}]; wrong until now: [{problems}]")
    }

    pub fn leaves(&mut self, member: &str) {
        self.leaving.insert(member.to_owned());
    }

    pub fn is_killed(&mut self, member: &str) {
        self.killed.insert(member.to_owned());
    }

    /// How many calls ended in which way, if all did in one that is right; else
    /// what is wrong.
    pub fn judge(&self) -> Result<BTreeMap<String, usize>, Vec<String>> {
        let mut problems = self.problems.clone();
        let mut ends = BTreeMap::new();
        for (id, call) in &self.calls {
            let end = match &call.end {
                Some(End::Answered { .. }) => "ok",
                Some(End::Failed { kind, .. }) => kind,
                None => "its caller was killed",
            };
            *ends.entry(end.to_owned()).or_default() += 1;
            if let Err(problem) = self.fits(call) {
                problems.push(format!("{id}: begun by {:?}, {end}: {problem}", call.begun));
            }
        }
        if problems.is_empty() { Ok(ends) } else { Err(problems) }
    }

    fn fits(&self, call: &Call) -> Result<(), String> {
        let begun = call.begun.len();
        let wrong = |problem: &str| Err(problem.to_owned());
        if begun > 1 && !call.again {
            return wrong("worked on more than once");
        }
        match &call.end {
            None if self.killed.contains(&call.caller) => Ok(()),
            None => wrong("it never ended"),
            Some(End::Answered { by }) if call.begun.contains(by) => Ok(()),
            Some(End::Answered { by }) => Err(format!("{by} answered, and never began")),
            Some(End::Failed { kind, message }) => match &**kind {
                // The handler says so, and so there was one.
                "Remote" if message == ON_PURPOSE && begun > 0 => Ok(()),
                // No other may have begun before, unless it may begin twice.
                "Busy" | "NotFound" if begun == 0 || call.again => Ok(()),
                "Timeout" | "Unreachable" => Ok(()),
                "Closed" | "Cancelled" if self.leaving.contains(&call.caller) => Ok(()),
                _ => Err(format!("not the right kind: {message}")),
            },
        }
    }
}

#[test]
fn what_does_not_fit_is_found() {
    let judge = |lines: &[&str]| {
        let mut ledger = Ledger::default();
        for line in lines {
            let (member, line) = line.split_once(": ").unwrap();
            assert!(ledger.note(member, line), "{line}");
        }
        ledger.leaves("l");
        ledger.is_killed("k");
        ledger.judge().is_ok()
    };
    for right in [
        &["a: call 1 once", "b: began 1", "a: ok 1 b"][..],
        &["a: call 1 again", "b: began 1", "c: began 1", "a: ok 1 c"],
        &["a: call 1 once", "b: began 1", "a: failed 1 Remote on purpose"],
        &["a: call 1 once", "b: began 1", "a: failed 1 Unreachable x"],
        &["a: call 1 once", "a: failed 1 Busy x"],
        &["k: call 1 once", "b: began 1"],
        &["l: call 1 once", "l: failed 1 Closed x"],
    ] {
        assert!(judge(right), "{right:?}");
    }
    for wrong in [
        &["a: call 1 once", "b: began 1", "c: began 1", "a: ok 1 c"][..],
        &["a: call 1 once", "b: began 1", "b: began 1", "a: failed 1 Timeout x"],
        &["a: call 1 once", "a: ok 1 b"],
        &["a: call 1 once", "b: began 1", "a: failed 1 Busy x"],
        &["a: call 1 once", "a: failed 1 Remote on purpose"],
        &["a: call 1 once", "b: began 1", "a: failed 1 Remote else"],
        &["a: call 1 once", "a: failed 1 Closed x"],
        &["a: call 1 once", "a: failed 1 Internal x"],
        &["a: call 1 once", "b: began 1"],
        &["a: call 1 once", "b: began 1", "a: ok 1 b", "a: ok 1 b"],
        &["a: wrong it is"],
    ] {
        assert!(!judge(wrong), "{wrong:?}");
    }
}
