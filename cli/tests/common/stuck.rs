//! A reader that has stopped reading: whoever writes to it waits.

use std::{
    io::{ErrorKind, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::Stdio,
};

/// The reader's end, where it may begin to read.
pub type Reader = UnixStream;

/// A stream to give to a program, in which there is no room.
pub fn stream() -> (Stdio, Reader) {
    let (reader, mut writer) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    // In small pieces: what is left is less than the shortest line.
    for piece in [4096, 256, 16, 1] {
        loop {
            match writer.write(&[b'\n'; 4096][..piece]) {
                Ok(_) => (),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    writer.set_nonblocking(false).unwrap();
    (OwnedFd::from(writer).into(), reader)
}
