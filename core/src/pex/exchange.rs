//! One round on one stream: both sides write and read at the same time.

use super::{
    codec::{Puller, encode},
    error::RoundError,
    round::{Told, Verifier, judge},
    view::{Gossip, Params},
};
use crate::record::SignedRecord;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::PeerId;
use std::time::Duration;

/// Tells a peer what we know, and gives what it knows.
pub(super) async fn exchange(
    stream: impl AsyncRead + AsyncWrite,
    peer: PeerId,
    told: &[Gossip<SignedRecord>],
    own: &SignedRecord,
    params: &Params,
    verifier: &Verifier,
    timeout: Duration,
) -> Result<Told, RoundError> {
    let bytes = encode(told, own)?;
    let (reader, mut writer) = stream.split();
    let write = async move {
        writer.write_all(&bytes).await?;
        writer.close().await
    };
    let write = async { write.await.map_err(|_: std::io::Error| RoundError::Stream) };
    let both = futures::future::try_join(write, pull(reader, params));
    let ((), raw) =
        tokio::time::timeout(timeout, both).await.map_err(|_| RoundError::Timeout)??;
    judge(raw, peer, verifier)
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
