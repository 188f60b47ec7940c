//! One round on one stream: both sides write and read at the same time.

use super::{
    Config,
    codec::{Puller, encode},
    error::RoundError,
    round::{Told, Verifier, judge},
    view::{Gossip, Params},
};
use crate::record::SignedRecord;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::PeerId;

/// Who opened the stream of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// We did, and close our side once everything is told.
    Starts,
    /// The peer did. Our side is closed last: a stream that is dropped before
    /// that is reset, and a peer whose round is refused notices at once. Of one
    /// that is half closed it would not be told, and would wait for room to
    /// write.
    Answers,
}

/// Tells a peer what we know, and gives what it knows.
pub(super) async fn exchange(
    role: Role,
    stream: impl AsyncRead + AsyncWrite,
    peer: PeerId,
    told: &[Gossip<SignedRecord>],
    own: &SignedRecord,
    verifier: &Verifier,
    config: &Config,
) -> Result<Told, RoundError> {
    let bytes = encode(told, own)?;
    let params = config.params();
    let (reader, mut writer) = stream.split();
    let broken = |_: std::io::Error| RoundError::Stream;
    let round = async {
        let write = async {
            writer.write_all(&bytes).await.map_err(broken)?;
            match role {
                Role::Starts => writer.close().await.map_err(broken),
                Role::Answers => writer.flush().await.map_err(broken),
            }
        };
        let ((), raw) = futures::future::try_join(write, pull(reader, &params)).await?;
        let told = judge(raw, peer, verifier)?;
        if role == Role::Answers {
            writer.close().await.map_err(broken)?;
        }
        Ok::<_, RoundError>(told)
    };
    tokio::time::timeout(config.timeout, round).await.map_err(|_| RoundError::Timeout)?
}

async fn pull(
    mut reader: impl AsyncRead + Unpin,
    params: &Params,
) -> Result<Vec<super::codec::Raw>, RoundError> {
    let mut puller = Puller::new(params);
    let mut buffer = vec![0; 8 * 1024];
    loop {
        let n = reader.read(&mut buffer).await.map_err(|_| RoundError::Stream)?;
        match buffer.get(..n) {
            None | Some([]) => return puller.end(),
            Some(bytes) => puller.push(bytes)?,
        }
    }
}
