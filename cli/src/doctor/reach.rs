//! Can others reach this machine, from outside its network too?

use super::Finding;
use casm::{Config, Error, Found, Node, Reach, Reachability, boot::BootAddr};
use std::time::Duration;
use tokio::time::timeout;

const NAME: &str = "reachability";

/// What is to be done about it.
const ADVICE: &str = "where a port is mapped to this machine, say so: --announce \
                      /ip4/203.0.113.7/tcp/4001; let the gateway map one: --upnp; or run one node \
                      that others can reach with --relay, over which the others are reached";

/// How long it takes a node to leave.
const LEAVE: Duration = Duration::from_secs(5);

/// What is known, having asked peers for so long; none, if nobody is to be asked.
pub async fn check(config: Config, wait: Option<Duration>) -> Finding {
    let Some(wait) = wait else { return unasked(&config) };
    match ask(config, wait).await {
        Ok(known) => judge(&known),
        Err(error) => {
            let message = format!("nobody could be asked: {}", error.message());
            Finding::warn(NAME, message, "see that a node can start: casm run")
        }
    }
}

/// What is known without a word to anybody.
fn unasked(config: &Config) -> Finding {
    match &config.announce[..] {
        [] => Finding::ok(
            NAME,
            "unknown: nobody was asked; --wait 30s asks the peers that --boot leads to",
        ),
        addrs => {
            let addrs: Vec<_> = addrs.iter().map(|addr| format!("{addr} (announced)")).collect();
            Finding::ok(NAME, format!("public: {}", addrs.join(", ")))
        }
    }
}

/// Has part as an observer until it is known that others reach it, or for so long.
async fn ask(mut config: Config, wait: Duration) -> casm::Result<Reachability> {
    config.observer = true;
    // A node that runs may have it.
    config.data = None;
    if config.boot.is_empty() {
        config.boot = vec![BootAddr::Auto];
    }
    let node = Node::start(config).await?;
    let mut events = node.events();
    let public = async {
        while node.reachability().reach != Reach::Public {
            events.next().await.ok_or_else(|| Error::closed("node"))?;
        }
        Ok(())
    };
    let result = timeout(wait, public).await.unwrap_or(Ok(()));
    let known = node.reachability();
    let _ = timeout(LEAVE, node.close()).await;
    result.map(|()| known)
}

fn judge(known: &Reachability) -> Finding {
    let addrs = known.addrs.iter().map(|a| format!("{} ({})", a.addr, a.found.name()));
    let addrs = addrs.collect::<Vec<_>>().join(", ");
    let relayed = known.addrs.iter().any(|addr| addr.found == Found::Relay);
    match known.reach {
        Reach::Public => Finding::ok(NAME, format!("public: {addrs}")),
        Reach::Private if relayed => Finding::ok(NAME, format!("private: over a relay, {addrs}")),
        Reach::Private if addrs.is_empty() => {
            Finding::warn(NAME, "private: others could not reach this machine", ADVICE)
        }
        Reach::Private => {
            let message = format!("private: in its own network alone, {addrs}");
            Finding::warn(NAME, message, ADVICE)
        }
        Reach::Unknown if !addrs.is_empty() => {
            let message = format!("unknown from outside, reached in its own network at {addrs}");
            Finding::warn(NAME, message, ADVICE)
        }
        Reach::Unknown => {
            let message = "unknown: no peer has tried; those that relay do (--relay)";
            Finding::warn(NAME, message, ADVICE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Status, *};
    use casm::ReachableAddr;

    fn judged(reach: Reach, addrs: &[(&str, Found)]) -> Finding {
        let addr = |(addr, found): &(&str, _)| ReachableAddr {
            addr: addr.parse().unwrap(),
            found: *found,
        };
        judge(&Reachability { reach, addrs: addrs.iter().map(addr).collect() })
    }

    #[test]
    fn where_others_reach_this_machine_is_told_with_how_that_is_known() {
        let public = judged(
            Reach::Public,
            &[("/ip4/8.8.8.8/tcp/1", Found::Mapped), ("/ip4/8.8.4.4/tcp/1", Found::Dialled)],
        );
        assert_eq!(public.status, Status::Ok);
        let told = "public: /ip4/8.8.8.8/tcp/1 (mapped), /ip4/8.8.4.4/tcp/1 (dialled)";
        assert_eq!(public.message, told);
        let relay = judged(Reach::Private, &[("/ip4/8.8.8.8/tcp/1/p2p-circuit", Found::Relay)]);
        assert_eq!(relay.status, Status::Ok);
        assert!(relay.message.contains("over a relay") && relay.advice.is_none(), "{relay:?}");
    }

    #[test]
    fn who_is_not_reached_is_told_what_to_do() {
        for finding in [
            judged(Reach::Unknown, &[]),
            judged(Reach::Unknown, &[("/ip4/10.0.0.1/tcp/1", Found::Dialled)]),
            judged(Reach::Private, &[]),
            judged(Reach::Private, &[("/ip4/10.0.0.1/tcp/1", Found::Dialled)]),
        ] {
            assert_eq!(finding.status, Status::Warn);
            let advice = finding.advice.unwrap();
            assert!(["--announce", "--upnp", "--relay"].iter().all(|o| advice.contains(o)));
        }
    }
}
