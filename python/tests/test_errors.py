"""Exceptions, and bad input of every kind."""

import builtins
import importlib
import pickle

import casm
import casm.testing
import pytest
from casm import _errors

BASES = {
    "Config": ValueError,
    "Address": ValueError,
    "Bind": OSError,
    "Closed": casm.CasmError,
    "Timeout": builtins.TimeoutError,
    "Cancelled": casm.CasmError,
    "NotFound": LookupError,
    "Unreachable": ConnectionError,
    "Protocol": casm.CasmError,
    "Invalid": ValueError,
    "TooLarge": ValueError,
    "Busy": casm.CasmError,
    "Io": OSError,
    "Paused": casm.CasmError,
    "Remote": RuntimeError,
    "Internal": RuntimeError,
}


@pytest.mark.parametrize("kind", BASES)
def test_every_error_kind_is_an_exception_with_the_base_of_its_like(kind):
    cls = _errors.KINDS[kind]
    error = cls("what was wrong")
    assert isinstance(error, casm.CasmError) and isinstance(error, BASES[kind])
    assert (error.kind, error.message, str(error)) == (kind, "what was wrong", "what was wrong")
    assert getattr(casm, cls.__name__) is cls
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls and copy.message == error.message


def test_there_is_an_exception_for_every_kind_and_for_no_other():
    assert set(_errors.KINDS) == set(BASES)


def test_every_public_class_says_a_module_from_which_it_can_be_imported():
    for name in set(casm.__all__) - {"__version__", "aio", "forward_logs", "select"}:
        cls = getattr(casm, name)
        assert getattr(importlib.import_module(cls.__module__), cls.__qualname__) is cls, name
        assert cls.__module__ == "casm" and cls.__doc__, name


BAD_OPTIONS = [
    ({"namespace": "a b"}, casm.ConfigError, "a b"),
    ({"listen": "nonsense"}, casm.AddressError, "nonsense"),
    ({"listen": ["/ip4/127.0.0.1/tcp/0", "x"]}, casm.AddressError, '"x"'),
    ({"boot": "nowhere"}, casm.AddressError, "nowhere"),
    ({"boot": ["none", "auto"]}, casm.ConfigError, "none,auto"),
    ({"boot": []}, casm.ConfigError, "boot"),
    ({"power": "lower"}, casm.ConfigError, "lower"),
    ({"pace": "slow"}, casm.ConfigError, "slow"),
    ({"budget": 0}, casm.ConfigError, "budget: 0"),
    ({"budget": 100_001}, casm.ConfigError, "1 to 100000"),
    ({"serve": "nowhere"}, casm.AddressError, "nowhere"),
    ({"announce": "nowhere"}, casm.AddressError, 'announce: "nowhere"'),
    ({"announce": ["/ip4/0.0.0.0/tcp/4001"]}, casm.AddressError, "0.0.0.0"),
    ({"announce_only": True}, casm.ConfigError, "announce_only"),
    ({"host": "h" * 1000}, casm.ConfigError, "host"),
    ({"meta": {"a=b": "c"}}, casm.ConfigError, "a=b"),
    ({"ttl": 0.1}, casm.ConfigError, "ttl"),
    ({"ttl": -1.0}, casm.ConfigError, "ttl: -1.0"),
    ({"pex_tick": 0.001}, casm.ConfigError, "tick"),
    ({"limits": {"connections": 0}}, casm.ConfigError, "limits.connections"),
    ({"limits": {"memory": 2}}, casm.ConfigError, "limits.memory"),
    ({"limits": {"rpc": {"message_bytes": 1}}}, casm.ConfigError, "limits.rpc.message_bytes"),
    ({"limits": {"rpc": {"held_bytes": 1}}}, casm.ConfigError, "limits.rpc.held_bytes"),
    ({"limits": {"rpc": {"queued_bytes": 1}}}, casm.ConfigError, "limits.rpc.queued_bytes"),
    ({"limits": {"rpc": {"calls": 0}}}, casm.ConfigError, "limits.rpc.calls"),
    ({"limits": {"rpc": {"capabilities": 0}}}, casm.ConfigError, "limits.rpc.capabilities"),
    ({"limits": {"rpc": {"streams_per_peer": 0}}}, casm.ConfigError, "limits.rpc.streams_per_peer"),
    ({"limits": {"rpc": {"streams": 0}}}, casm.ConfigError, "limits.rpc.streams"),
    ({"limits": {"rpc": {"idle": 0}}}, casm.ConfigError, "limits.rpc.idle"),
    ({"limits": {"rpc": {"stall": -1}}}, casm.ConfigError, "limits.rpc.stall: -1"),
    ({"limits": {"table": {"records": 15}}}, casm.ConfigError, "limits.table.records"),
    ({"limits": {"table": {"bytes": 1000}}}, casm.ConfigError, "limits.table.bytes"),
    ({"limits": {"table": {"remembered": 0}}}, casm.ConfigError, "limits.table.remembered"),
    ({"limits": {"table": {"probation": -1}}}, casm.ConfigError, "limits.table.probation: -1"),
    ({"relay": True, "relay_limits": {"reservations": 0}}, casm.ConfigError, "relay.reservations: 0"),
    ({"relay": True, "relay_limits": {"circuits": 4097}}, casm.ConfigError, "relay.circuits: 4097"),
    ({"relay": True, "relay_limits": {"circuit_bytes": 1}}, casm.ConfigError, "circuit_bytes: 1"),
    ({"relay": True, "relay_limits": {"circuit_time": 9}}, casm.ConfigError, "circuit_time"),
    ({"relay": True, "relay_limits": {"circuit_time": -1}}, casm.ConfigError, "circuit_time: -1"),
    ({"relay_limits": {"circuits": 4}}, casm.ConfigError, "relay: false"),
    ({"ttl": float("nan")}, casm.ConfigError, "ttl: NaN"),
    ({"allow": "me"}, casm.AddressError, 'allow: peer id "me"'),
    ({"deny": ["me"]}, casm.AddressError, 'deny: peer id "me"'),
    ({"key": "/nonexistent/key"}, casm.IoError, "/nonexistent/key"),
    ({"listen": "/ip4/192.0.2.1/tcp/1"}, casm.BindError, "192.0.2.1"),
]


@pytest.mark.parametrize(("options", "error", "said"), BAD_OPTIONS)
def test_a_bad_option_raises_the_kind_and_names_the_value(options, error, said):
    with pytest.raises(error) as raised:
        casm.Node(**casm.testing.options(**options))
    assert said in str(raised.value)


WRONG_TYPES = [
    {"namespace": 1},
    {"listen": 1},
    {"listen": [1]},
    {"boot": b"auto"},
    {"host": None, "meta": {"a": 1}},
    {"meta": ["a"]},
    {"ttl": "10s"},
    {"observer": "yes"},
    {"key": 7},
    {"data": 7},
    {"pex_tick": "5m"},
    {"limits": 7},
    {"limits": {"connections": "many"}},
    {"limits": {"rpc": 7}},
    {"limits": {"rpc": {"calls": "many"}}},
    {"relay": 1},
    {"relay_limits": 7},
    {"relay_limits": {"circuits": "many"}},
    {"use_relays": "no"},
    {"upnp": "yes"},
    {"allow": 7},
    {"allow": b"me"},
    {"deny": ["12D3KooW", 7]},
    {"no_such_option": 1},
]


@pytest.mark.parametrize("options", WRONG_TYPES)
def test_a_wrong_type_fails_at_the_call(options):
    with pytest.raises(TypeError):
        casm.Config(**options)


BAD_CALLS = {
    "wait_for a negative number": (lambda n: n.wait_for(-1), OverflowError, ""),
    "wait_for text": (lambda n: n.wait_for("3"), TypeError, ""),
    "a negative timeout": (lambda n: n.wait_for(1, timeout=-1), casm.ConfigError, "timeout: -1"),
    "too short a timeout": (lambda n: n.wait_for(9, timeout=0.01), casm.TimeoutError, "wait_for"),
    "a callback that cannot be called": (lambda n: n.on_event(3), TypeError, "callback: 3"),
    "the same for changes": (lambda n: n.on_change("x"), TypeError, "callback: 'x'"),
    "a query with no field": (lambda n: n.view().iter("worker"), casm.ConfigError, "worker"),
    "a query of another type": (lambda n: n.subscribe(3), TypeError, ""),
    "a range over two fields": (
        lambda n: casm.Query.from_("host:a").to("peer:b"),
        casm.InvalidError,
        "one field",
    ),
    "a peer id that is none": (lambda n: n.view().get("me"), casm.AddressError, '"me"'),
    "a peer with no id": (
        lambda n: n.connect(["/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2"]),
        casm.AddressError,
        "/p2p/",
    ),
    "a peer that is not there": (
        lambda n: n.connect(f"/ip4/127.0.0.1/tcp/1/p2p/{casm.Key.generate().peer}"),
        casm.UnreachableError,
        "/ip4/127.0.0.1/tcp/1",
    ),
    "an address that is none": (lambda n: n.connect("/ip4/x"), casm.AddressError, "/ip4/x"),
    "a namespace that is none": (lambda n: n.find_peers(".."), casm.ConfigError, ".."),
    "to advertise in a namespace that is none": (
        lambda n: n.advertise("a b", 1),
        casm.ConfigError,
        "a b",
    ),
    "meta of the wrong type": (lambda n: n.set_meta({"a": 1}), TypeError, ""),
    "a change of the wrong type": (lambda n: n.update_meta({"a": 1}), TypeError, ""),
    "a change with a bad key": (lambda n: n.update_meta({"a=b": "c"}), casm.ConfigError, "a=b"),
    "a wait that never ends": (
        lambda n: n.wait_for(2, query=casm.Query.all().limit(1)),
        casm.InvalidError,
        "limit is 1",
    ),
    "to allow what is no id": (
        lambda n: n.allow([n.id, "me"]),
        casm.AddressError,
        'allow: peer id "me"',
    ),
    "to disallow what is no id": (lambda n: n.disallow("me"), casm.AddressError, '"me"'),
    "to take nobody but what is no id": (
        lambda n: n.set_allowed(""),
        casm.AddressError,
        'set_allowed: peer id ""',
    ),
    "to deny what is no id": (lambda n: n.deny("me"), casm.AddressError, 'deny: peer id "me"'),
    "to undeny what is no id": (lambda n: n.undeny({"me"}), casm.AddressError, '"me"'),
    "to deny a record": (lambda n: n.deny(n.view().get(n.id)), TypeError, "no Record"),
    "to deny a number": (lambda n: n.set_denied([n.id, 7]), TypeError, "no int"),
    "to allow bytes": (lambda n: n.allow(b"me"), TypeError, "no int"),
    "to deny itself": (lambda n: n.deny(n.id), casm.ConfigError, "this node itself"),
    "to deny itself among others": (
        lambda n: n.set_denied([casm.Key.generate().peer, n.id]),
        casm.ConfigError,
        "this node itself",
    ),
    "meta with a bad key": (lambda n: n.set_meta({"a=b": "c"}), casm.ConfigError, "a=b"),
    "too long a host": (lambda n: n.set_host("h" * 1000), casm.ConfigError, "host"),
    "too short a TTL": (lambda n: n.set_ttl(0), casm.ConfigError, "ttl"),
    "a log level that is none": (lambda n: casm.forward_logs("loud"), casm.ConfigError, "loud"),
    "a key file that is there": (
        lambda n: casm.Key.generate().save("/dev/null"),
        casm.ConfigError,
        "/dev/null",
    ),
}


@pytest.mark.parametrize("what", BAD_CALLS)
def test_a_bad_call_raises_the_kind_and_names_the_value(node, what):
    call, error, said = BAD_CALLS[what]
    for _ in range(2):
        with pytest.raises(error) as raised:
            call(node)
        assert said in str(raised.value)
    # The node is none the worse for it.
    assert node.wait_for(1, timeout=60)


def test_messages_hold_no_build_path(node):
    with pytest.raises(casm.CasmError) as raised:
        node.connect(f"/ip4/127.0.0.1/tcp/1/p2p/{casm.Key.generate().peer}")
    assert ".rs" not in str(raised.value) and ".cargo" not in str(raised.value)
