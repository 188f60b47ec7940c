//! What others are told of a node with many services.

use crate::{Node, service::ServeOptions};
use futures::StreamExt;
use libp2p::{SwarmBuilder, identify, noise, swarm::SwarmEvent, tcp, yamux};
use std::{convert::Infallible, time::Duration};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_names_are_one_protocol() {
    let builder = Node::builder().listen("/ip4/127.0.0.1/tcp/0").boot(["none"]).pex(None);
    let node = builder.start().await.unwrap();
    let hidden = ServeOptions::default().listed(false);
    for n in 0..1000 {
        let handler = async |_| Ok::<_, Infallible>(());
        node.serve_with(&format!("service-{n}"), &hidden, handler).unwrap();
    }
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key| {
            identify::Behaviour::new(identify::Config::new("/test".into(), key.public()))
        })
        .unwrap()
        .build();
    swarm.dial(node.addrs().remove(0)).unwrap();
    let told = async {
        loop {
            let event = swarm.select_next_some().await;
            if let SwarmEvent::Behaviour(identify::Event::Received { info, .. }) = event {
                return info;
            }
        }
    };
    let info = tokio::time::timeout(Duration::from_secs(60), told).await.unwrap();
    let protocols = info.protocols.iter().map(|protocol| protocol.as_ref().len() + 2);
    let addrs = info.listen_addrs.iter().map(|addr| addr.len() + 2);
    let bytes = protocols.sum::<usize>() + addrs.sum::<usize>();
    assert!(bytes < 2048, "{bytes} bytes: {info:?}");
    let svc = info.protocols.iter().filter(|protocol| protocol.as_ref().contains("svc"));
    assert_eq!(svc.count(), 1, "{info:?}");
    node.close().await.unwrap();
}
