//! The messages of these protocols, with their length before them.

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use prost::Message;
use std::io;

/// What relays are asked, and answer.
#[derive(Clone, PartialEq, Message)]
pub struct Hop {
    #[prost(int32, required, tag = "1")]
    pub kind: i32,
    #[prost(message, optional, tag = "2")]
    pub peer: Option<Peer>,
    #[prost(message, optional, tag = "3")]
    pub reservation: Option<Reservation>,
    #[prost(message, optional, tag = "4")]
    pub limit: Option<Limit>,
    #[prost(int32, optional, tag = "5")]
    pub status: Option<i32>,
}

/// What relays ask those for whom they take something, and these answer.
#[derive(Clone, PartialEq, Message)]
pub struct Stop {
    #[prost(int32, required, tag = "1")]
    pub kind: i32,
    #[prost(message, optional, tag = "2")]
    pub peer: Option<Peer>,
    #[prost(message, optional, tag = "3")]
    pub limit: Option<Limit>,
    #[prost(int32, optional, tag = "4")]
    pub status: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Peer {
    #[prost(bytes = "vec", required, tag = "1")]
    pub id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Reservation {
    #[prost(uint64, required, tag = "1")]
    pub expire: u64,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub addrs: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Limit {
    #[prost(uint32, optional, tag = "1")]
    pub seconds: Option<u32>,
    #[prost(uint64, optional, tag = "2")]
    pub bytes: Option<u64>,
}

/// What is said of tries whether a peer can be reached: of these one.
#[derive(Clone, PartialEq, Message)]
pub struct Try {
    #[prost(message, optional, tag = "1")]
    pub request: Option<TryThese>,
    #[prost(message, optional, tag = "2")]
    pub response: Option<Tried>,
    #[prost(message, optional, tag = "3")]
    pub wants: Option<Wants>,
    #[prost(message, optional, tag = "4")]
    pub data: Option<Data>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TryThese {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub addrs: Vec<Vec<u8>>,
    #[prost(fixed64, tag = "2")]
    pub nonce: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Tried {
    #[prost(int32, tag = "1")]
    pub status: i32,
    #[prost(uint32, tag = "2")]
    pub addr: u32,
    #[prost(int32, tag = "3")]
    pub dialled: i32,
}

/// That the peer first sends so many bytes.
#[derive(Clone, PartialEq, Message)]
pub struct Wants {
    #[prost(uint32, tag = "1")]
    pub addr: u32,
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Data {
    #[prost(bytes = "vec", tag = "1")]
    pub bytes: Vec<u8>,
}

/// What a peer shows that was reached.
#[derive(Clone, PartialEq, Message)]
pub struct Nonce {
    #[prost(fixed64, tag = "1")]
    pub nonce: u64,
}

/// What peers tell each other that dial at the same moment.
#[derive(Clone, PartialEq, Message)]
pub struct Punch {
    /// 100: where to dial; 300: now.
    #[prost(int32, required, tag = "1")]
    pub kind: i32,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub addrs: Vec<Vec<u8>>,
}

pub async fn send(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &impl Message,
) -> io::Result<()> {
    stream.write_all(&message.encode_length_delimited_to_vec()).await?;
    stream.flush().await
}

pub async fn read<M: Message + Default>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<M> {
    // Byte by byte: what comes after it is none of this.
    let (mut length, mut byte) = (0, [0x80]);
    for shift in (0..).step_by(7).take_while(|shift| *shift < 28) {
        if byte[0] & 0x80 == 0 {
            break;
        }
        stream.read_exact(&mut byte).await?;
        length |= usize::from(byte[0] & 0x7f) << shift;
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    M::decode(&bytes[..]).map_err(io::Error::other)
}
