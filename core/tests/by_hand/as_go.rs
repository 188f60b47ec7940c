//! Peers that behave as those of go-libp2p do.

use super::nodes::{Foreign, HOUR, listens, swarm};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, StreamProtocol, Swarm, SwarmBuilder, identify, noise, relay,
    swarm::{NetworkBehaviour, SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use std::pin::pin;

/// Waits for something while these go on.
async fn meanwhile<T>(swarms: &mut [Swarm<Foreign>; 2], what: impl Future<Output = T>) -> T {
    let (mut what, [a, b]) = (pin!(what), swarms);
    loop {
        tokio::select! {
            output = &mut what => return output,
            _ = a.select_next_some() => {}
            _ = b.select_next_some() => {}
        }
    }
}

/// One that tries whether others can be reached (AutoNAT v2), for which it dials them under
/// another name, as go-libp2p does. Where it is.
pub async fn tries() -> Multiaddr {
    let request = StreamProtocol::new("/libp2p/autonat/2/dial-request");
    let back = StreamProtocol::new("/libp2p/autonat/2/dial-back");
    let mut swarms = [swarm(None), swarm(None)];
    let at = listens(&mut swarms[0]).await.with_p2p(*swarms[0].local_peer_id()).unwrap();
    let mut asked = swarms[0].behaviour().streams.new_control().accept(request).unwrap();
    let mut control = swarms[1].behaviour().streams.new_control();
    tokio::spawn(async move {
        while let Some((peer, mut stream)) = meanwhile(&mut swarms, asked.next()).await {
            // Of the protobuf: a length, the heads of two messages, an address, a nonce.
            let mut message = [0; 128];
            let n = meanwhile(&mut swarms, stream.read(&mut message)).await.unwrap();
            let (addr, nonce) = message[5..n].split_at(usize::from(message[4]));
            let addr = Multiaddr::try_from(addr.to_vec()).unwrap();
            swarms[1].dial(DialOpts::peer_id(peer).addresses(vec![addr]).build()).unwrap();
            loop {
                let event = swarms[1].select_next_some().await;
                if let SwarmEvent::ConnectionEstablished { .. } = event {
                    break;
                }
            }
            let open = control.open_stream(peer, back.clone());
            let mut dialled = meanwhile(&mut swarms, open).await.unwrap();
            let told = [&[9, 9][..], &nonce[1..9]].concat();
            meanwhile(&mut swarms, dialled.write_all(&told)).await.unwrap();
            meanwhile(&mut swarms, dialled.read(&mut message)).await.unwrap();
            // It was dialled at the first address, and told.
            let done = [10, 0x12, 8, 8, 200, 1, 16, 0, 24, 200, 1];
            meanwhile(&mut swarms, stream.write_all(&done)).await.unwrap();
            meanwhile(&mut swarms, stream.close()).await.unwrap();
        }
    });
    at
}

/// A peer that dials over relays, and as yet speaks of nothing.
#[derive(NetworkBehaviour)]
pub struct Late {
    pub relay: relay::client::Behaviour,
    pub streams: libp2p_stream::Behaviour,
    pub identify: identify::Behaviour,
}

pub fn late() -> Swarm<Late> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_relay_client(noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key, relay| Late {
            relay,
            streams: libp2p_stream::Behaviour::new(),
            identify: identify::Behaviour::new(identify::Config::new("late".into(), key.public())),
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(HOUR))
        .build()
}
