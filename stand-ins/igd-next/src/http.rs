//! One question over HTTP, and what may come back.

use crate::Error;
use std::{net::SocketAddr, time::Duration};
use tokio::{net::TcpStream, time::timeout};

/// Bytes of an answer. Descriptions of gateways have some 10 KiB.
const MOST: usize = 64 << 10;
/// Pieces in which an answer may come: each has it looked at once more.
const PIECES: usize = 1024;
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Asks, and gives back the body of the answer, which may be that a call has failed.
pub(crate) async fn ask(at: SocketAddr, request: &str) -> Result<String, Error> {
    timeout(ANSWER, exchange(at, request.as_bytes())).await.unwrap_or(Err(Error::Late))
}

async fn exchange(at: SocketAddr, mut request: &[u8]) -> Result<String, Error> {
    let stream = TcpStream::connect(at).await?;
    while !request.is_empty() {
        stream.writable().await?;
        match stream.try_write(request) {
            Ok(written) => request = &request[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    let (mut answer, mut piece) = (Vec::new(), vec![0; 4 << 10]);
    for _ in 0..PIECES {
        let read = loop {
            stream.readable().await?;
            match stream.try_read(&mut piece) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                read => break read?,
            }
        };
        answer.extend_from_slice(&piece[..read]);
        if let Some(body) = body(&answer, read == 0)? {
            return Ok(body);
        }
    }
    Err(Error::Answer("it comes in too many pieces"))
}

/// The body, once the answer is whole. `ended`: no more comes.
pub(crate) fn body(answer: &[u8], ended: bool) -> Result<Option<String>, Error> {
    if answer.len() > MOST {
        return Err(Error::Answer("it is longer than 64 KiB"));
    }
    let body = match answer.windows(4).position(|four| four == b"\r\n\r\n") {
        Some(head) => whole(&answer[..head], &answer[head + 4..], ended)?,
        None => None,
    };
    match body {
        Some(body) => Ok(Some(String::from_utf8_lossy(&body).into_owned())),
        None if ended => Err(Error::Answer("it is cut off")),
        None => Ok(None),
    }
}

fn whole(head: &[u8], rest: &[u8], ended: bool) -> Result<Option<Vec<u8>>, Error> {
    let head = std::str::from_utf8(head).map_err(|_| Error::Answer("no text"))?;
    let mut words = head.split_ascii_whitespace();
    match (words.next(), words.next()) {
        // A call that has failed says why.
        (Some(http), Some("200" | "500")) if http.starts_with("HTTP/1.") => {}
        _ => return Err(Error::Answer("its status is neither 200 nor 500")),
    }
    let field = |wanted: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, v)| v.trim())
    };
    if field("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        return chunks(rest);
    }
    let Some(length) = field("content-length") else {
        return Ok(ended.then(|| rest.to_vec()));
    };
    match length.parse() {
        Ok(length) if length <= MOST => Ok(rest.get(..length).map(<[u8]>::to_vec)),
        _ => Err(Error::Answer("it says no length that is possible")),
    }
}

fn chunks(mut rest: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&rest[..end]).unwrap_or_default();
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).ok().filter(|size| *size <= MOST);
        let size = size.ok_or(Error::Answer("a chunk has no size that is possible"))?;
        if size == 0 {
            return Ok(Some(body));
        }
        let Some(chunk) = rest.get(end + 2..end + 2 + size) else { return Ok(None) };
        body.extend_from_slice(chunk);
        let Some(next) = rest.get(end + 2 + size + 2..) else { return Ok(None) };
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, ended: bool) -> Result<Option<String>, String> {
        body(text.as_bytes(), ended).map_err(|error| error.to_string())
    }

    #[test]
    fn answers_end_where_they_say_or_with_the_connection() {
        let some = |text: &str| Ok(Some(text.to_owned()));
        let ok = "HTTP/1.1 200 OK\r\n";
        assert_eq!(read(&format!("{ok}content-length: 2\r\n\r\nabc"), false), some("ab"));
        assert_eq!(read(&format!("{ok}Content-Length: 4\r\n\r\nabc"), false), Ok(None));
        assert_eq!(read(&format!("{ok}\r\nabc"), false), Ok(None));
        assert_eq!(read(&format!("{ok}\r\nabc"), true), some("abc"));
        let chunked = format!("{ok}Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n1;x\r\nd\r\n");
        assert_eq!(read(&chunked, false), Ok(None));
        assert_eq!(read(&format!("{chunked}0\r\n\r\n"), false), some("abcd"));
        assert_eq!(read("HTTP/1.0 500 No\r\nContent-Length: 1\r\n\r\nx", false), some("x"));
        assert_eq!(read("HTTP/1.1 200", false), Ok(None));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let ok = "HTTP/1.1 200 OK\r\n";
        for (text, ended) in [
            ("HTTP/1.1 301 Moved\r\nLocation: http://8.8.8.8/\r\n\r\n", true),
            ("HTTP/1.1 404 No\r\n\r\n", true),
            ("SSH-2.0-x\r\n\r\n", true),
            ("HTTP/1.1 200", true),
            (&*format!("{ok}Content-Length: 99999999\r\n\r\n"), false),
            (&*format!("{ok}Content-Length: -1\r\n\r\n"), false),
            (&*format!("{ok}Content-Length: 3\r\n\r\nx"), true),
            (&*format!("{ok}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"), false),
            (&*format!("{ok}Transfer-Encoding: chunked\r\n\r\nzz\r\n"), false),
            (&*format!("{ok}\r\n{}", "x".repeat(MOST)), false),
        ] {
            assert!(read(text, ended).is_err(), "{:?}", text.get(..60));
        }
    }
}
