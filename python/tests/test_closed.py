"""Every call after close, and every call twice."""

import casm
import casm.testing
import pytest


def served(node):
    """The same node, which serves something."""
    if not node.services():
        node.serve("echo", lambda request: request.data)
    return node


def without_authorities(call, *given):
    """A call that a node refuses that has none."""
    with pytest.raises((casm.InvalidError, casm.ConfigError)):
        call(*given)


CALLS = {
    "serve": lambda node: node.serve(f"s{len(node.services())}", len),
    "serve_stream": lambda node: node.serve_stream(f"s{len(node.services())}", len),
    "call": lambda node: served(node).call("echo"),
    "call_all": lambda node: node.call_all("echo"),
    "call_stream": lambda node: node.call_stream("echo"),
    "services": lambda node: node.services(),
    "service_stats": lambda node: served(node).service_stats("echo"),
    "topic": lambda node: node.topic("news"),
    "addrs": lambda node: node.addrs(),
    "info": lambda node: node.info(),
    "view": lambda node: node.view(),
    "wait_for": lambda node: node.wait_for(1, timeout=60),
    "view_of": lambda node: node.view_of(casm.Key.generate().peer),
    "events": lambda node: node.events(),
    "on_event": lambda node: node.on_event(print),
    "subscribe": lambda node: node.subscribe(),
    "on_change": lambda node: node.on_change(print),
    "find_peers": lambda node: node.find_peers(limit=1, timeout=0.1),
    "advertise": lambda node: node.advertise("other", ttl=1),
    "connect": lambda node: node.connect(casm.PeerInfo(casm.Key.generate().peer)),
    "open_stream": lambda node: node.open_stream(casm.Key.generate().peer, "/x/1"),
    "on_stream": lambda node: node.on_stream(f"/{casm.Key.generate().peer}", print),
    "connected": lambda node: node.connected(),
    "peer_status": lambda node: node.peer_status(node.id),
    "reachability": lambda node: node.reachability(),
    "set_meta": lambda node: node.set_meta({}),
    "update_meta": lambda node: node.update_meta({}),
    "set_host": lambda node: node.set_host("h"),
    "set_ttl": lambda node: node.set_ttl(10),
    "is_paused": lambda node: node.is_paused(),
    "pause": lambda node: node.pause(),
    "resume": lambda node: node.resume(),
    "channel": lambda node: node.channel("c"),
    "open_channel": lambda node: node.open_channel("c", casm.Key.generate().peer, timeout=60),
    "semaphore": lambda node: node.semaphore("s", 1),
    "open_semaphore": lambda node: node.open_semaphore("s", casm.Key.generate().peer),
    "allow": lambda node: node.allow(node.id),
    "disallow": lambda node: node.disallow(node.id),
    "allow_all": lambda node: node.allow_all(),
    "set_allowed": lambda node: node.set_allowed([]),
    "allowed": lambda node: node.allowed(),
    "deny": lambda node: node.deny([casm.Key.generate().peer]),
    "undeny": lambda node: node.undeny([]),
    "set_denied": lambda node: node.set_denied([]),
    "denied": lambda node: node.denied(),
    "renew": lambda node: without_authorities(node.renew, b"nonsense"),
    "revoke": lambda node: without_authorities(node.revoke, b""),
    "metrics": lambda node: node.metrics(),
    "metrics_snapshot": lambda node: node.metrics_snapshot(),
}

STAYS = {"id", "namespace", "closed", "close", "start"}


def test_every_call_is_in_this_test():
    public = {name for name in dir(casm.Node) if not name.startswith("_")}
    assert public == CALLS.keys() | STAYS


@pytest.mark.parametrize("call", CALLS)
def test_every_call_works_twice_and_raises_closed_after_close(node, call):
    for _ in range(2):
        try:
            CALLS[call](node)
        except casm.NotFoundError:
            unreached = ("connect", "view_of", "open_stream", "open_channel", "open_semaphore")
            assert call in unreached
    node.close()
    for _ in range(2):
        with pytest.raises(casm.ClosedError, match="the node is closed"):
            CALLS[call](node)


def test_close_is_idempotent_and_what_names_the_node_stays(node):
    assert not node.closed
    node.close()
    node.close()
    assert node.closed and node.id and node.namespace
    assert "closed" in repr(node)
    with node:
        pass


def test_a_wait_ends_when_another_thread_closes_the_node(node):
    import threading

    threading.Timer(0.1, node.close).start()
    with pytest.raises(casm.ClosedError):
        node.wait_for(100)
