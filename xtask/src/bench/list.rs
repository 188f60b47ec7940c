//! The benchmarks.

use super::{Bench, Peer, Program, Side};

/// Libraries of a language's registry that hold a native module too.
const PYPI: &[Peer] = &[
    Peer::Named("eclipse-zenoh"),
    Peer::Named("iroh"),
    Peer::Named("opendal"),
    Peer::Named("tokenizers"),
];
const NPM: &[Peer] =
    &[Peer::Named("@number0/iroh"), Peer::Named("@chainsafe/libp2p-quic"), Peer::Named("zeromq")];
const ZENOH: &[Peer] = &[Peer::Named("eclipse-zenoh")];
const IROH: &[Peer] = &[Peer::Named("iroh")];
const PY_LIBP2P: &[Peer] = &[Peer::Named("libp2p")];
const JS_LIBP2P: &[Peer] = &[Peer::Named("libp2p")];
const JS_GOSSIPSUB: &[Peer] = &[Peer::Named("@libp2p/gossipsub")];
const ZEROMQ: &[Peer] = &[Peer::Named("zeromq")];

/// All of them, by name.
pub const BENCHES: [Bench; 18] = [
    Bench {
        name: "call",
        sides: &[
            Side { ours: Program::Python("call.py"), peers: ZENOH },
            Side { ours: Program::Node("call.mjs"), peers: ZEROMQ },
        ],
        small: &["--count", "20", "--callers", "2", "--seconds", "0.2"],
    },
    Bench {
        name: "channel",
        sides: &[
            Side { ours: Program::Core("channel"), peers: &[] },
            Side { ours: Program::Python("channel.py"), peers: &[Peer::Named("queue.Queue")] },
        ],
        small: &["--seconds", "0.1"],
    },
    Bench {
        name: "cluster",
        sides: &[Side {
            ours: Program::Core("cluster"),
            peers: &[Peer::Go { module: "interop/go-memberlist", without: &["--admit", "--ttl"] }],
        }],
        small: &[
            "--admit",
            "--nodes",
            "3,4@3s",
            "--degree",
            "2",
            "--ttl",
            "2s",
            "--seconds",
            "1",
            "--changes",
            "2",
            "--kill",
            "1",
        ],
    },
    Bench {
        name: "codec",
        sides: &[Side { ours: Program::Core("codec"), peers: &[] }],
        small: &[],
    },
    Bench {
        name: "events",
        sides: &[
            Side { ours: Program::Python("events.py"), peers: ZENOH },
            Side { ours: Program::Node("events.mjs"), peers: ZEROMQ },
        ],
        small: &["--count", "1000", "--records", "100"],
    },
    Bench {
        name: "gossip",
        sides: &[Side { ours: Program::Core("gossip"), peers: &[Peer::Named("rust-libp2p")] }],
        small: &["--seconds", "0.2"],
    },
    Bench {
        name: "import",
        sides: &[
            Side { ours: Program::Python("importing.py"), peers: PYPI },
            Side { ours: Program::Node("importing.mjs"), peers: NPM },
        ],
        small: &["--runs", "2"],
    },
    Bench {
        name: "live",
        sides: &[Side { ours: Program::Core("live"), peers: &[] }],
        small: &["--records", "500", "--seconds", "0.2"],
    },
    Bench {
        name: "newcomer",
        sides: &[Side { ours: Program::Core("newcomer"), peers: &[] }],
        small: &["--records", "20", "--runs", "1"],
    },
    Bench { name: "pex", sides: &[Side { ours: Program::Core("pex"), peers: &[] }], small: &[] },
    Bench {
        name: "roundtrip",
        sides: &[
            Side { ours: Program::Python("roundtrip.py"), peers: ZENOH },
            Side { ours: Program::Node("roundtrip.mjs"), peers: ZEROMQ },
        ],
        small: &["--count", "20"],
    },
    Bench {
        name: "size",
        sides: &[
            Side { ours: Program::Python("size.py"), peers: PYPI },
            Side { ours: Program::Node("size.mjs"), peers: NPM },
        ],
        small: &[],
    },
    Bench {
        name: "stream",
        sides: &[
            Side { ours: Program::Core("stream"), peers: &[Peer::Named("rust-libp2p")] },
            Side { ours: Program::Python("stream.py"), peers: IROH },
            Side { ours: Program::Node("stream.mjs"), peers: JS_LIBP2P },
        ],
        small: &["--bytes", "1000000"],
    },
    Bench {
        name: "survey",
        sides: &[Side { ours: Program::Sim("survey"), peers: &[] }],
        small: &["--nodes", "20", "--runs", "2"],
    },
    Bench {
        name: "sync",
        sides: &[Side { ours: Program::Core("sync"), peers: &[] }],
        small: &["--records", "100,1000", "--runs", "2"],
    },
    Bench {
        name: "table",
        sides: &[Side {
            ours: Program::Core("table"),
            peers: &[Peer::Go { module: "interop/go-memdb", without: &[] }],
        }],
        small: &["--records", "1000"],
    },
    Bench {
        name: "topic",
        sides: &[
            Side { ours: Program::Core("topic"), peers: &[] },
            Side { ours: Program::Python("topic.py"), peers: PY_LIBP2P },
            Side { ours: Program::Node("topic.mjs"), peers: JS_GOSSIPSUB },
        ],
        small: &["--seconds", "0.2", "--subscribers", "1,2"],
    },
    Bench {
        name: "verify",
        sides: &[Side { ours: Program::Core("verify"), peers: &[] }],
        small: &[],
    },
];
