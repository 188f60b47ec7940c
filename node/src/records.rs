//! Records, of which JavaScript reads what it wants to know.

use casm_bindings::{Record, TOGETHER, bring_near, hash_fields};
use napi::bindgen_prelude::{BigInt, Uint32Array};
use napi_derive::napi;

/// Records. A number past the end reads as nothing.
#[napi]
pub struct Records(Vec<Record>);

impl From<Vec<Record>> for Records {
    fn from(records: Vec<Record>) -> Self {
        Self(records)
    }
}

impl From<Record> for Records {
    fn from(record: Record) -> Self {
        Self(vec![record])
    }
}

#[napi]
impl Records {
    #[napi(getter)]
    pub fn length(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    #[napi]
    pub fn server(&self, n: u32) -> Option<BigInt> {
        self.at(n).map(|record| record.server().into())
    }

    #[napi]
    pub fn seq(&self, n: u32) -> Option<BigInt> {
        self.at(n).map(|record| record.seq().into())
    }

    /// In milliseconds.
    #[napi]
    pub fn ttl(&self, n: u32) -> Option<f64> {
        self.at(n).map(|record| record.ttl().as_secs_f64() * 1000.0)
    }

    #[napi]
    pub fn verified(&self, n: u32) -> Option<bool> {
        self.at(n).map(casm_bindings::Record::verified)
    }

    /// Where a record's peer is reached.
    #[napi]
    pub fn addrs(&self, n: u32) -> Option<Vec<String>> {
        let addrs = self.at(n)?.addrs();
        Some(addrs.iter().map(ToString::to_string).collect())
    }

    /// The services of a record: each name, followed by its version.
    #[napi]
    pub fn services(&self, n: u32) -> Option<Vec<String>> {
        let pairs = |record: &Record| {
            record.services().flat_map(|(name, version)| [name.into(), version.into()]).collect()
        };
        self.at(n).map(pairs)
    }

    #[napi]
    pub fn channels(&self, n: u32) -> Option<Vec<String>> {
        self.at(n).map(|record| record.channels().map(str::to_owned).collect())
    }

    #[napi]
    pub fn roles(&self, n: u32) -> Option<Vec<String>> {
        self.at(n).map(|record| record.roles().map(str::to_owned).collect())
    }

    /// The text of up to `count` records, from this one on: one call for all,
    /// since each into this module takes longer than to cut a string out of one.
    #[napi]
    pub fn text(&self, from: u32, count: u32) -> Text {
        let (from, count) = (from as usize, count as usize);
        let from = from.min(self.0.len());
        let to = from.saturating_add(count).min(self.0.len());
        let mut parts = Parts::default();
        let spans = parts.put(&self.0[from..to]);
        Text { text: parts.text, spans: spans.into() }
    }
}

impl Records {
    pub(crate) fn at(&self, n: u32) -> Option<&Record> {
        self.0.get(usize::try_from(n).ok()?)
    }
}

/// The text of some records, and where in it their parts are, in UTF-16 code
/// units. `spans` begins with four numbers for each record: where its peer's id
/// begins and ends, where its host, which follows, ends, and the place in `spans`
/// at which its meta is told of. There: how many pairs there are, where the first
/// begins, and for each where its key ends, and its value, which follows.
#[napi(object, object_from_js = false)]
pub struct Text {
    pub text: String,
    pub spans: Uint32Array,
}

/// How many numbers there are for each record.
const HEAD: usize = 4;

/// Of so many that differ in what they say of themselves it is known where they
/// are told of.
const SLOTS: usize = 64;

/// Text that grows by parts.
#[derive(Default)]
struct Parts {
    text: String,
    /// Where it ends, in UTF-16 code units.
    end: u32,
}

impl Parts {
    /// Appends the records' text, and gives the spans. What several say of
    /// themselves alike is told of once, mostly.
    fn put(&mut self, records: &[Record]) -> Vec<u32> {
        let mut spans = vec![0; records.len() * HEAD];
        let mut told: [Option<(&Record, u32)>; SLOTS] = [None; SLOTS];
        for (n, record) in records.iter().enumerate() {
            if n % TOGETHER == 0 {
                bring_near(&records[n..records.len().min(n + TOGETHER)]);
            }
            let slot = &mut told[(hash_fields(record) % SLOTS as u64) as usize];
            let alike = slot.filter(|(other, _)| other.fields().eq(record.fields()));
            let head = [self.end, self.push(record.peer_text()), self.push(record.host())];
            let meta = alike.map_or_else(|| self.meta(record, &mut spans), |(_, meta)| meta);
            *slot = Some((record, meta));
            spans[n * HEAD..][..head.len()].copy_from_slice(&head);
            spans[n * HEAD + head.len()] = meta;
        }
        spans
    }

    /// Appends what a peer says of itself, and gives where in the spans that is
    /// told of.
    fn meta(&mut self, record: &Record, spans: &mut Vec<u32>) -> u32 {
        let at = spans.len();
        spans.extend([0, self.end]);
        for (key, value) in record.meta().iter() {
            spans[at] += 1;
            spans.extend([self.push(key), self.push(value)]);
        }
        number(at)
    }

    /// Appends a part, and gives where it ends.
    fn push(&mut self, part: &str) -> u32 {
        self.text.push_str(part);
        let units = if part.is_ascii() { part.len() } else { part.encode_utf16().count() };
        self.end = self.end.saturating_add(number(units));
        self.end
    }
}

/// What is asked for at once is far smaller than 2^32.
fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
