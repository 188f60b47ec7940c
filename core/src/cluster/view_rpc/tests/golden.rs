//! Recorded sessions of a Go client with a Go server.

use super::*;
use crate::rpc::tests::{messages, on_local, pipe, serve_view};
use capnp_rpc::rpc_capnp::{message, return_};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use serde_json::Value;

struct Session {
    encoding: Encoding,
    index: Value,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
}

fn sessions() -> Vec<Session> {
    let Some(folder) = std::env::var_os("CASM_GOLDEN").map(std::path::PathBuf::from) else {
        println!("skipped: CASM_GOLDEN is not set");
        return Vec::new();
    };
    let read = |name: String| std::fs::read(folder.join(name)).unwrap();
    let index: Vec<Value> = serde_json::from_slice(&read("rpc-index.json".into())).unwrap();
    [(Encoding::Plain, "rpc-view-"), (Encoding::Packed, "rpc-view-packed-")]
        .into_iter()
        .zip(index)
        .map(|((encoding, name), index)| {
            let protocol = format!("/casm/0.0.0/casm/view{}", encoding.suffix());
            assert_eq!(index["protocol"], protocol);
            let (to_server, to_client) =
                (read(format!("{name}to-server.bin")), read(format!("{name}to-client.bin")));
            Session { encoding, index, to_server, to_client }
        })
        .collect()
}

impl Session {
    fn all(&self) -> Vec<Record> {
        self.index["iter all, in order"].as_array().unwrap().iter().map(record).collect()
    }

    fn table(&self) -> Table {
        let mut table = empty();
        for r in self.all() {
            let meta: Vec<_> = r.fields().map(str::to_owned).collect();
            insert(&mut table, r.peer(), r.seq(), r.server(), r.host(), &meta);
        }
        table
    }

    fn is_looked_up(&self, record: &Record) {
        let said = &self.index["lookup meta role=worker"];
        assert_eq!(said["host"], record.host());
        assert_eq!(said["peer"], record.peer_text());
        assert_eq!(said["seq"], record.seq().to_string());
        assert_eq!(said["server"], record.server_text());
    }
}

fn record(said: &Value) -> Record {
    let text = |name: &str| said[name].as_str().unwrap();
    let beat = Heartbeat {
        server: u64::from_str_radix(text("server"), 16).unwrap(),
        ttl: Some(Duration::from_millis(said["ttl_ms"].as_u64().unwrap())),
        host: text("host").into(),
        meta: said["meta"].as_array().unwrap().iter().map(|m| m.as_str().unwrap().into()).collect(),
        sent_at: None,
        addrs: Default::default(),
    };
    let peer = text("peer").parse().unwrap();
    Record::new(peer, text("seq").parse().unwrap(), beat.ttl.unwrap(), &beat)
}

/// What a server said, in order: records that it looked up, and records that it
/// sent to a handler.
fn said(encoding: Encoding, bytes: &[u8]) -> (Vec<Record>, Vec<Record>) {
    let (mut looked_up, mut sent) = (Vec::new(), Vec::new());
    for (_, said) in messages(encoding, bytes) {
        match said.get_root::<message::Reader>().unwrap().which().unwrap() {
            message::Call(call) => {
                let content = call.unwrap().get_params().unwrap().get_content();
                let params = content.get_as::<view::handler::recv_params::Reader>().unwrap();
                let told = wire::read_record(params.get_record().unwrap()).unwrap();
                assert!(told.signed.is_empty());
                sent.push(told.record);
            }
            message::Return(ret) => match ret.unwrap().which().unwrap() {
                return_::Results(results) => {
                    let results = results.unwrap();
                    let content = results.get_content();
                    // A capability, and the empty answer of `iter`, are no lookup.
                    if results.get_cap_table().unwrap().is_empty()
                        && let Ok(found) = content.get_as::<view::lookup_results::Reader>()
                        && let Ok(view::maybe_record::Just(record)) =
                            found.get_result().unwrap().which()
                        && let Ok(told) = wire::read_record(record.unwrap())
                    {
                        looked_up.push(told.record);
                    }
                }
                return_::Exception(e) => panic!("{:?}", e.unwrap()),
                _ => (),
            },
            message::Abort(abort) => panic!("{:?}", abort.unwrap()),
            _ => (),
        }
    }
    (looked_up, sent)
}

#[test]
fn a_go_servers_answers_are_read() {
    for session in sessions() {
        let (looked_up, sent) = said(session.encoding, &session.to_client);
        assert_eq!(looked_up.len(), 1);
        session.is_looked_up(&looked_up[0]);
        assert_eq!(sent[..3], session.all());
        assert_eq!(session.index["iter meta zone=z1, records"], sent.len() - 3);
        assert_eq!(sent[3].meta().get("zone"), Some("z1"));
    }
}

#[test]
fn a_go_clients_session_gets_the_answers_that_it_got_from_go() {
    on_local(async {
        for session in sessions() {
            let (a, mut client) = pipe(1 << 16);
            let server = serve_view(a, session.encoding, object(session.table().view()));
            let (mut answers, mut from) = (Vec::new(), 0);
            let asked = messages(session.encoding, &session.to_server);
            // The last message is the client's goodbye.
            for (to, _) in &asked[..asked.len() - 1] {
                client.write_all(&session.to_server[from..*to]).await.unwrap();
                from = *to;
                let (mut buffer, mut quiet) = (vec![0; 4096], 0);
                while quiet < 200 {
                    match client.read(&mut buffer).now_or_never() {
                        Some(n) => answers.extend_from_slice(&buffer[..n.unwrap()]),
                        None => quiet += 1,
                    }
                    tokio::task::yield_now().await;
                }
            }
            let go_said = said(session.encoding, &session.to_client);
            assert_eq!(said(session.encoding, &answers), go_said);
            client.write_all(&session.to_server[from..]).await.unwrap();
            server.await.unwrap();
        }
    });
}
