//! What requests and answers are on the wire, and how large they may be.

use super::{Headers, Reply};
use crate::{
    Error, ErrorKind, Result,
    schema::service_capnp::{answer, header},
};
use capnp::struct_list;

/// The most bytes of a request, and of an answer.
pub(super) const MAX_DATA: usize = 1 << 20;
/// The most bytes of a part.
pub(super) const MAX_PART: usize = 64 << 10;
/// The most headers, and the most bytes of their keys and values.
const MAX_HEADERS: usize = 16;
const MAX_HEADERS_LEN: usize = 4 << 10;
/// The most bytes of a failure's message.
const MAX_MESSAGE: usize = 4 << 10;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum FailureKind {
    Busy,
    Closing,
    NotFound,
    Remote,
    Deadline,
    TooLarge,
    Parts,
    /// The caller went away: only counted.
    Cancelled,
    /// One that a later version has.
    Other,
}

impl FailureKind {
    /// Those that are told.
    const NAMED: [Self; 7] = [
        Self::Busy,
        Self::Closing,
        Self::NotFound,
        Self::Remote,
        Self::Deadline,
        Self::TooLarge,
        Self::Parts,
    ];

    /// Every kind, in the order of declaration.
    pub(super) const ALL: [Self; 9] = [
        Self::Busy,
        Self::Closing,
        Self::NotFound,
        Self::Remote,
        Self::Deadline,
        Self::TooLarge,
        Self::Parts,
        Self::Cancelled,
        Self::Other,
    ];

    /// Its name on the wire, and as a metrics label.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Closing => "closing",
            Self::NotFound => "notFound",
            Self::Remote => "remote",
            Self::Deadline => "deadline",
            Self::TooLarge => "tooLarge",
            Self::Parts => "parts",
            Self::Cancelled => "cancelled",
            Self::Other => "other",
        }
    }

    /// Whether the request had begun to be worked on. If not, another member can
    /// be asked.
    pub(super) const fn begun(self) -> bool {
        !matches!(self, Self::Busy | Self::Closing | Self::NotFound)
    }

    const fn error_kind(self) -> ErrorKind {
        match self {
            Self::Busy => ErrorKind::Busy,
            Self::Closing => ErrorKind::Unreachable,
            Self::NotFound => ErrorKind::NotFound,
            Self::Remote => ErrorKind::Remote,
            Self::Deadline => ErrorKind::Timeout,
            Self::TooLarge => ErrorKind::TooLarge,
            Self::Parts => ErrorKind::Invalid,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Other => ErrorKind::Protocol,
        }
    }
}

/// Why there is no answer, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The same for who called. What a handler said stands alone.
    pub(super) fn error(&self, whose: &dyn std::fmt::Display) -> Error {
        let Self { kind, message } = self;
        let message = match kind {
            FailureKind::Remote if !message.is_empty() => message.clone(),
            FailureKind::Remote => format!("{whose} failed and said no more"),
            _ => format!("{whose}: {message}"),
        };
        Error::new(kind.error_kind(), message)
    }
}

/// Checks what is to be sent.
///
/// # Errors
/// [`ErrorKind::TooLarge`].
pub(super) fn check_data(what: &str, len: usize) -> Result<()> {
    if len <= MAX_DATA {
        return Ok(());
    }
    let message = format!(
        "{what}: {len} bytes are more than 1 MiB ({MAX_DATA} bytes): send them in parts, or over a \
         stream"
    );
    Err(Error::new(ErrorKind::TooLarge, message))
}

/// Checks a part that is to be sent.
///
/// # Errors
/// [`ErrorKind::TooLarge`].
pub(super) fn check_part(len: usize) -> Result<()> {
    if len <= MAX_PART {
        return Ok(());
    }
    let message = format!("part: {len} bytes are more than 64 KiB: send it as several parts");
    Err(Error::new(ErrorKind::TooLarge, message))
}

/// Checks headers that are to be sent.
///
/// # Errors
/// [`ErrorKind::TooLarge`]; [`ErrorKind::Config`] if a key is empty.
pub(super) fn check_headers(headers: &Headers) -> Result<()> {
    if headers.contains_key("") {
        let accepted = "write a key of at least one character";
        return Err(Error::config("headers", "", accepted));
    }
    let len: usize = headers.iter().map(|(key, value)| key.len() + value.len()).sum();
    if headers.len() <= MAX_HEADERS && len <= MAX_HEADERS_LEN {
        return Ok(());
    }
    let message = format!(
        "headers: {} of {len} bytes are more than {MAX_HEADERS} of {MAX_HEADERS_LEN} bytes: put \
         them in the data",
        headers.len()
    );
    Err(Error::new(ErrorKind::TooLarge, message))
}

/// Writes headers that were checked.
pub(super) fn write_headers(headers: &Headers, mut to: struct_list::Builder<header::Owned>) {
    for (at, (key, value)) in (0..).zip(headers) {
        let mut header = to.reborrow().get(at);
        header.set_key(key.as_str());
        header.set_value(value.as_str());
    }
}

/// How many there are, for the list's length.
pub(super) fn count(headers: &Headers) -> u32 {
    u32::try_from(headers.len()).unwrap_or(u32::MAX)
}

/// Reads headers; `None` if there are too many.
///
/// # Errors
/// If they are malformed.
pub(super) fn read_headers(
    from: struct_list::Reader<header::Owned>,
) -> capnp::Result<Option<Headers>> {
    if from.len() as usize > MAX_HEADERS {
        return Ok(None);
    }
    let (mut headers, mut room) = (Headers::new(), MAX_HEADERS_LEN);
    for header in from {
        let (key, value) = (header.get_key()?, header.get_value()?);
        match room.checked_sub(key.len() + value.len()) {
            Some(left) => room = left,
            None => return Ok(None),
        }
        let (key, value) = (key.to_str()?.to_owned(), value.to_str()?.to_owned());
        headers.entry(key).or_insert(value);
    }
    Ok(Some(headers))
}

/// Writes an answer that was checked.
pub(super) fn write_answer(result: &Result<Reply, Failure>, mut to: answer::Builder) {
    match result {
        Ok(reply) => {
            to.set_ok(&reply.data);
            write_headers(&reply.headers, to.init_headers(count(&reply.headers)));
        }
        Err(failure) => {
            let mut failed = to.init_failed();
            failed.set_kind(failure.kind.name());
            failed.set_message(cut(&failure.message));
        }
    }
}

/// Reads an answer.
///
/// # Errors
/// If it is malformed, or larger than any may be.
pub(super) fn read_answer(from: answer::Reader) -> capnp::Result<Result<Reply, Failure>> {
    let too_much = || capnp::Error::failed("an answer is larger than any may be".into());
    Ok(match from.which()? {
        answer::Ok(data) => {
            let data = data?;
            if data.len() > MAX_DATA {
                return Err(too_much());
            }
            let headers = read_headers(from.get_headers()?)?.ok_or_else(too_much)?;
            Ok(Reply { data: data.to_vec(), headers })
        }
        answer::Failed(failure) => {
            let failure = failure?;
            let (kind, message) = (failure.get_kind()?.as_bytes(), failure.get_message()?);
            let named = FailureKind::NAMED.into_iter().find(|k| k.name().as_bytes() == kind);
            // What it said of itself, not more of it than ours would say.
            let text = String::from_utf8_lossy(message.as_bytes());
            Err(Failure::new(named.unwrap_or(FailureKind::Other), cut(&text)))
        }
    })
}

/// The beginning of a message.
fn cut(message: &str) -> &str {
    &message[..message.floor_char_boundary(MAX_MESSAGE)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use capnp::message::Builder;

    fn through(result: &Result<Reply, Failure>) -> Result<Reply, Failure> {
        let mut message = Builder::new_default();
        write_answer(result, message.init_root());
        read_answer(message.get_root_as_reader().unwrap()).unwrap()
    }

    #[test]
    fn answers_come_through() {
        let headers = Headers::from([("k".into(), "v".into())]);
        let reply = Ok(Reply { data: vec![1, 2, 3], headers });
        assert_eq!(through(&reply), reply);
        for kind in FailureKind::NAMED {
            let failure = Err(Failure::new(kind, "why"));
            assert_eq!(through(&failure), failure);
        }
        let other = Err(Failure::new(FailureKind::Other, "x"));
        assert_eq!(through(&other), other);
        let long = "\u{e9}".repeat(5000);
        let cut = through(&Err(Failure::new(FailureKind::Remote, long))).unwrap_err();
        assert_eq!(cut.message.len(), MAX_MESSAGE);
    }

    #[test]
    fn what_is_too_large_is_refused_on_both_sides() {
        assert!(check_data("request", MAX_DATA).is_ok() && check_part(MAX_PART).is_ok());
        for error in [
            check_data("request", MAX_DATA + 1),
            check_part(MAX_PART + 1),
            check_headers(&(0..17).map(|n| (n.to_string(), String::new())).collect()),
            check_headers(&Headers::from([("k".into(), "v".repeat(MAX_HEADERS_LEN))])),
        ] {
            assert_eq!(error.unwrap_err().kind(), ErrorKind::TooLarge);
        }
        let error = check_headers(&Headers::from([(String::new(), "v".into())])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);

        let read = |headers: &Headers| {
            let mut message = Builder::new_default();
            let list = message.init_root::<answer::Builder>().init_headers(count(headers));
            write_headers(headers, list);
            read_answer(message.get_root_as_reader().unwrap())
        };
        assert!(read(&(0..17).map(|n| (n.to_string(), String::new())).collect()).is_err());
        assert!(read(&Headers::from([("k".into(), "v".repeat(MAX_HEADERS_LEN))])).is_err());
        let mut message = Builder::new_default();
        message.init_root::<answer::Builder>().set_ok(&vec![0; MAX_DATA + 1]);
        assert!(read_answer(message.get_root_as_reader().unwrap()).is_err());
    }
}
