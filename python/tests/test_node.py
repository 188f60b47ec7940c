"""What a node does, in the blocking form."""

import queue
import threading
import time

import casm
import casm.testing
import pytest
from casm import _casm
from conftest import PATIENCE


def test_two_nodes_see_each_others_meta():
    with casm.Node(**casm.testing.options(meta={"role": "a", "zone": "x=y"}, host="h")) as a:
        with casm.Node(**casm.testing.options(namespace=a.namespace)) as b:
            assert b.connect(a.addrs()) == a.id
            record = b.wait_for(2, timeout=PATIENCE).get(a.id)
            assert record.meta == {"role": "a", "zone": "x=y"}
            assert (record.peer, record.host, record.ttl) == (a.id, "h", 10.0)
            assert record.seq > 0 and 0 <= record.server < 2**64
            assert b.connected() == [a.id]
            status = b.peer_status(a.id)
            assert (status.peer, status.direction) == (a.id, "outbound")
            assert status.addrs and repr(status).startswith("PeerStatus(")
            assert b.peer_status(casm.Key.generate().peer) is None
            assert b.id in a.wait_for(2, timeout=PATIENCE)


def test_a_change_of_meta_sets_and_removes_and_a_wait_counts_what_a_query_finds(node):
    node.update_meta({"a": "1", "b": "2"})
    node.update_meta({"a": None, "c": "3"})
    view = node.wait_for(1, timeout=PATIENCE, query="meta:c=3")
    assert view.get(node.id).meta == {"role": "test", "b": "2", "c": "3"}
    with pytest.raises(casm.TimeoutError):
        node.wait_for(1, timeout=0.01, query="meta:a=1")


def test_a_node_connects_to_whoever_answers_at_an_address(node):
    with casm.Node(**casm.testing.options(namespace=node.namespace)) as other:
        (addr,) = node.info().addrs
        assert other.connect(addr, timeout=PATIENCE) == node.id


def test_events_tell_what_happens():
    with casm.testing.cluster(1) as (a,):
        with a.events() as events, casm.testing.cluster(1, namespace=a.namespace) as (b,):
            b.connect(a.info())
            seen = set()
            while not {casm.Connected, casm.PeerJoined} <= seen:
                event = events.next(timeout=PATIENCE)
                seen.add(type(event))
                match event:
                    case casm.PeerJoined(record):
                        assert record.peer == b.id
                    case casm.Connected(peer):
                        assert peer == b.id
            b.close()
            left = next(e for e in events if isinstance(e, casm.PeerLeft))
            assert (left.peer, left.reason, left.name) == (b.id, "left", "peer-left")


def test_a_stream_ends_when_the_node_closes(node):
    events, changes = node.events(), node.subscribe()
    node.close()
    assert all(isinstance(e, casm.Event) for e in events)
    assert all(isinstance(c, casm.Change) for c in changes)
    assert events.next() is None


def test_a_stream_ends_when_it_is_cancelled_by_another_thread(node):
    with node.subscribe("meta:never=there") as changes:
        threading.Timer(0.05, changes.cancel).start()
        assert list(changes) == []
        assert changes.next() is None


def test_a_stream_serves_one_caller_at_a_time(node):
    with node.subscribe("meta:never=there") as changes:
        outcomes = queue.Queue()

        def wait():
            try:
                outcomes.put(changes.next(timeout=PATIENCE))
            except casm.BusyError as error:
                outcomes.put(error)

        # Whichever comes second is refused.
        threads = [threading.Thread(target=wait) for _ in range(2)]
        for thread in threads:
            thread.start()
        refused = outcomes.get(timeout=PATIENCE)
        assert isinstance(refused, casm.BusyError) and "a stream for each" in str(refused)
        changes.cancel()
        for thread in threads:
            thread.join(PATIENCE)
        assert outcomes.get(timeout=PATIENCE) is None


def test_a_live_query_follows_meta():
    with casm.testing.cluster(2) as (boss, worker):
        with boss.subscribe("meta:role=worker") as changes:
            with pytest.raises(casm.TimeoutError):
                changes.next(timeout=0.1)
            worker.set_meta({"role": "worker"})
            joined = changes.next(timeout=PATIENCE)
            assert (joined.kind, joined.record.peer) == ("joined", worker.id)
            worker.set_host("elsewhere")
            updated = changes.next(timeout=PATIENCE)
            assert (updated.kind, updated.record.host) == ("updated", "elsewhere")
            # Another TTL alone is no change, and the view has it.
            worker.set_ttl(20)
            end = time.monotonic() + PATIENCE
            while boss.view().get(worker.id).ttl != 20.0:
                assert time.monotonic() < end
                time.sleep(0.01)
            worker.close()
            assert changes.next(timeout=PATIENCE).kind == "left"
            current = boss.subscribe(casm.Query.all()).next(timeout=PATIENCE)
            assert (current.kind, current.record.peer) == ("current", boss.id)


def test_queries():
    with casm.testing.cluster(3) as nodes:
        for n, node in enumerate(nodes):
            node.set_meta({"role": "worker" if n else "boss", "n": str(n)})
            node.set_host(f"host-{n}")
        watcher = nodes[0]
        with watcher.subscribe("meta:role=worker") as changes:
            while watcher.view().count("meta:role=worker") < 2 or (
                watcher.view().count(casm.Query.prefix("host:host-")) < 3
            ):
                changes.next(timeout=PATIENCE)
        view = watcher.view()
        Q = casm.Query

        def hosts(query=None, **options):
            return [record.host for record in view.iter(query, **options)]

        assert sorted(hosts()) == ["host-0", "host-1", "host-2"]
        assert hosts(Q.match_host("host-1")) == ["host-1"]
        assert hosts("host:host") == []
        assert hosts(Q.prefix("host:host")) == ["host-0", "host-1", "host-2"]
        assert hosts(Q.prefix("host:host"), reverse=True, limit=2) == ["host-2", "host-1"]
        assert hosts(Q.from_("host:host-1")) == ["host-1", "host-2"]
        assert hosts(Q.from_("host:host-0").to("host:host-1")) == ["host-0", "host-1"]
        assert hosts(Q.from_("host:host-1").reverse()) == ["host-1", "host-0"]
        assert hosts(Q.match_peer(nodes[2].id)) == ["host-2"]
        assert sorted(hosts(Q.match_meta("role", "worker"))) == ["host-1", "host-2"]
        record = view.lookup(Q.match_meta("n", "1"))
        assert hosts(Q.match_server(record.server)) == ["host-1"]
        assert view.count() == len(view) == 3 and bool(view)
        assert view.get(record.peer) == record and record.peer in view
        assert view.lookup("host:nobody") is None and "nobody" not in view
        assert len({record, view.get(record.peer)}) == 1


def test_the_view_of_another_node_is_asked_for(pair):
    a, b = pair
    b.set_host("asked-for")
    view = a.view_of(b.id, timeout=PATIENCE)
    assert view.peer == b.id and b.id in repr(view)
    assert {record.peer for record in view.iter()} == {a.id, b.id}
    assert view.get(a.id, timeout=PATIENCE).peer == a.id
    assert view.lookup(casm.Query.match_host("asked-for")).peer == b.id
    assert view.lookup("host:nobody") is None
    assert (view.count(timeout=PATIENCE), view.count("host:nobody")) == (2, 0)
    assert len(list(view.iter(limit=1, reverse=True))) == 1
    with pytest.raises(casm.AddressError, match="nonsense"):
        a.view_of("nonsense")
    with pytest.raises(casm.NotFoundError):
        a.view_of(casm.Key.generate().peer)
    a.close()
    for call in (view.iter, view.count, lambda: view.lookup("host:x"), lambda: view.get(b.id)):
        with pytest.raises(casm.ClosedError):
            call()


def test_a_view_stays_as_it_was(pair):
    view = pair[0].view()
    pair[1].close()
    with pair[0].events() as events:
        while len(pair[0].view()) == 2:
            events.next(timeout=PATIENCE)
    assert len(view) == 2 and pair[1].id in view


def test_meta_is_a_dict_of_the_callers_own_each_time():
    view = _casm.bench_view(40)
    # Read often enough that dicts are kept; 16 different ones.
    for _ in range(4):
        zones = []
        for record in view:
            meta = record.meta
            assert meta.pop("role") == "worker"
            zones.append(meta.pop("zone"))
            assert not meta and meta is not record.meta
            assert record.meta == {"role": "worker", "zone": zones[-1]}
            assert f'"zone": "{zones[-1]}"' in repr(record)
        assert sorted(zones) == sorted(f"z{n % 16}" for n in range(40))


def test_an_observer_is_not_in_the_view(node):
    with casm.Node(**casm.testing.options(namespace=node.namespace, observer=True)) as observer:
        observer.connect(node.info())
        view = observer.wait_for(1, timeout=PATIENCE)
        assert [record.peer for record in view] == [node.id]


def test_a_key_is_the_nodes_identity(tmp_path):
    key = casm.Key.generate()
    key.save(tmp_path / "key")
    assert casm.Key.load(str(tmp_path / "key")).peer == key.peer
    for given in (key, tmp_path / "key", str(tmp_path / "key")):
        with casm.Node(**casm.testing.options(key=given)) as node:
            assert node.id == key.peer
    assert key.peer in repr(key)


def test_peers_are_found_by_crawling(unused_udp_port):
    boot = f"/ip4/127.0.0.1/udp/{unused_udp_port}"
    with casm.Node(**casm.testing.options(serve=boot)) as server:
        config = casm.testing.options(namespace=server.namespace, boot=boot)
        with casm.Node(**config) as seeker:
            found = seeker.find_peers(limit=1, timeout=PATIENCE).next()
            assert (found.peer.id, found.source) == (server.id, boot)
            # And with no more said, they see each other.
            assert server.id in seeker.wait_for(2, timeout=PATIENCE)
            server.advertise("another", ttl=60)
            others = list(seeker.find_peers("another", limit=1, timeout=PATIENCE))
            assert [f.peer.id for f in others] == [server.id]


@pytest.fixture
def unused_udp_port():
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_casm_boot_says_where_to_look_if_the_program_does_not(monkeypatch, unused_udp_port):
    config = casm.testing.options()
    del config["boot"]
    monkeypatch.setenv("CASM_BOOT", f"/ip4/127.0.0.1/udp/{unused_udp_port}")
    with casm.Node(**config) as a, casm.Node(**config) as b:
        assert a.id in b.wait_for(2, timeout=PATIENCE)
    monkeypatch.setenv("CASM_BOOT", "nonsense")
    with pytest.raises(casm.AddressError, match="nonsense"):
        casm.Node(**config)


def test_what_is_announced_is_told_beside_what_is_found_or_alone(monkeypatch):
    mapped = "/ip4/203.0.113.7/tcp/4001"
    with casm.Node(**casm.testing.options(announce=mapped)) as node:
        assert (node.info().addrs[0], len(node.info().addrs)) == (mapped, 2)
    with casm.Node(**casm.testing.options(announce=[mapped], announce_only=True)) as node:
        assert node.addrs() == [f"{mapped}/p2p/{node.id}"]
    other = "/dns/node.example.org/udp/4001/quic-v1"
    monkeypatch.setenv("CASM_ANNOUNCE", f"{other},{mapped}")
    with casm.Node(**casm.testing.options(announce_only=True)) as node:
        assert node.info().addrs == [other, mapped]
    with casm.Node(**casm.testing.options(announce=mapped, announce_only=True)) as node:
        assert node.info().addrs == [mapped]


def test_metrics_are_openmetrics_text(node):
    text = node.metrics()
    assert "casm_cluster_peers" in text and text.endswith("# EOF\n")


def test_repr_and_version(node):
    assert repr(node) == f'<Node {node.id} in "{node.namespace}">'
    assert casm.__version__.count(".") == 2
    record = node.wait_for(1, timeout=PATIENCE).get(node.id)
    assert record.peer in repr(record) and "role" in repr(record)
    assert repr(casm.Query.from_("host:a").to("host:b").limit(3).reverse()) == (
        'Query.from_("host:a").to("host:b").limit(3).reverse()'
    )
    assert repr(casm.PeerInfo("x", ["y"])) == 'PeerInfo(id="x", addrs=["y"])'
    assert "1 records" in repr(node.view())
    assert "demo" in repr(casm.Config("demo"))
