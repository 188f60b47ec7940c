"""The table of what every language has, for Python."""

import inspect
import tomllib
from pathlib import Path

import casm
import casm.aio
import pytest
from casm import _errors

TABLE = tomllib.loads((Path(__file__).parents[2] / "bindings/api.toml").read_text())
OTHER = TABLE["other"]["python"]


def names(group, *columns):
    columns = columns or TABLE[group].keys()
    return {OTHER.get(name, name) for column in columns for name in TABLE[group][column]}


def public(cls):
    return {name for name in dir(cls) if not name.startswith("_")}


def parameters(function):
    return inspect.signature(function).parameters.keys()


def test_every_option():
    assert names("options", "node") == parameters(casm.Config)
    started = names("options", "node", "start")
    assert started == parameters(casm.Node) == parameters(casm.aio.Node)
    for cls in (casm.Node, casm.aio.Node):
        assert parameters(cls.start) == names("options", "start") | {"config"}
    assert names("options", "find_peers") == parameters(casm.Node.find_peers) - {"self"}
    topic = names("options", "topic") | {"self", "name"}
    for cls in (casm.Node, casm.aio.Node):
        assert parameters(cls.topic) == topic
    messages = names("options", "messages") | {"self"}
    for cls in (casm.Topic, casm.aio.Topic):
        assert parameters(cls.subscribe) == messages
        assert parameters(cls.on_message) == messages | {"callback"}
    assert names("options", "query") <= public(casm.Query)
    for cls in (casm.Node, casm.aio.Node):
        own = {"self", "name", "handler", "workers"}
        for call in (cls.serve, cls.serve_stream):
            assert names("options", "serve") == parameters(call) - own
        for call in (cls.call, cls.call_stream):
            assert names("options", "call") == parameters(call) - {"self", "name", "data"}
        assert names("options", "call_all") == parameters(cls.call_all) - {"self", "name", "data"}


def test_every_limit():
    limits = dict.fromkeys(TABLE["options"]["limits"], 1)
    limits["rpc"] = dict.fromkeys(TABLE["options"]["rpc_limits"], 1)
    relay = dict.fromkeys(TABLE["options"]["relay_limits"], 100_000)
    casm.Config(relay=True, relay_limits=relay)
    with pytest.raises(TypeError, match="no_such_limit"):
        casm.Config(relay_limits={"no_such_limit": 1})
    limits["table"] = dict.fromkeys(TABLE["options"]["table_limits"], 1)
    casm.Config(limits=limits)
    wrong = [{"no_such_limit": 1}]
    wrong += [{part: wrong[0]} for part in ("rpc", "table")]
    for wrong in wrong:
        with pytest.raises(TypeError, match="no_such_limit"):
            casm.Config(limits=wrong)


@pytest.mark.parametrize("cls", [casm.Node, casm.aio.Node])
def test_every_call_of_the_node_in_both_forms(cls):
    # `start` is how a node is made of a Config.
    assert public(cls) == names("node") | {"start"}
    for name in names("node", "waits"):
        assert inspect.iscoroutinefunction(getattr(casm.aio.Node, name)), name


@pytest.mark.parametrize(
    ("group", "classes"),
    [
        ("view", [casm.View]),
        ("remote_view", [casm.RemoteView, casm.aio.RemoteView]),
        ("topic", [casm.Topic, casm.aio.Topic]),
        ("message", [casm.Message]),
        ("record", [casm.Record]),
        ("peer_status", [casm.PeerStatus]),
        ("reachability", [casm.Reachability]),
        ("reachable_addr", [casm.ReachableAddr]),
        ("key", [casm.Key]),
        ("secret", [casm.Secret]),
        ("byte_stream", [casm.ByteStream]),
        ("subscription", [casm.Subscription, casm.aio.Subscription, casm.aio.StreamServer]),
        ("stream", [casm.Stream, casm.aio.Stream]),
        ("channel", [casm.Channel, casm.aio.Channel]),
        ("job", [casm.Job, casm.aio.Job]),
        ("semaphore", [casm.Semaphore, casm.aio.Semaphore]),
        ("lease", [casm.Lease, casm.aio.Lease]),
        ("request", [casm.Request]),
        ("answer", [casm.Answer]),
        ("serving", [casm.Serving]),
        ("peer_reply", [casm.PeerReply]),
        ("service_stats", [casm.ServiceStats]),
        ("module", [casm]),
    ],
)
def test_every_call_of_the_rest(group, classes):
    for cls in classes:
        assert names(group) <= public(cls), cls


def test_every_event():
    events = {cls.__name__ for cls in casm.Event.__subclasses__()}
    assert events == names("events") and events <= set(casm.__all__)


def test_every_kind_of_change():
    stub = (Path(casm.__file__).parent / "_casm.pyi").read_text()
    kinds = ", ".join(f'"{kind}"' for kind in TABLE["changes"]["kinds"])
    assert f"def kind(self) -> Literal[{kinds}]" in stub


def test_every_error_kind():
    assert set(_errors.KINDS) == names("errors")
