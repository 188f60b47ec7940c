"""What is opened at another node has a time limit."""

import ast
import asyncio
import inspect
import socket
import tomllib
from pathlib import Path

import casm
import casm.aio
import casm.testing
import pytest
from conftest import PATIENCE

OPENS = ["open_stream", "open_channel", "open_semaphore"]


@pytest.fixture
def mute():
    """A peer that takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        yield [f"/ip4/127.0.0.1/tcp/{port}/p2p/{casm.Key.generate().peer}"]


def arguments(call, peer):
    return (peer, "/x/1") if call == "open_stream" else ("name", peer)


def test_every_call_that_opens_something_takes_10_s_if_nothing_is_said():
    table = tomllib.loads((Path(__file__).parents[2] / "bindings/api.toml").read_text())
    assert table["options"]["open"] == ["timeout"]
    stub = ast.parse((Path(casm.__file__).parent / "_casm.pyi").read_text())
    (node,) = [item for item in stub.body if isinstance(item, ast.ClassDef) and item.name == "Node"]
    stubs = {item.name: item.args for item in node.body if isinstance(item, ast.FunctionDef)}
    for call in [*OPENS, "call", "call_all"]:
        awaited = inspect.signature(getattr(casm.aio.Node, call)).parameters["timeout"]
        # The native module has that of the core, which no signature shows.
        args = stubs[call]
        both = [*args.args, *args.kwonlyargs], [*args.defaults, *args.kw_defaults]
        ((_, said),) = [
            (arg, default)
            for arg, default in zip(both[0][::-1], both[1][::-1], strict=False)
            if arg.arg == "timeout"
        ]
        assert awaited.default == ast.literal_eval(said) == 10, call


@pytest.mark.parametrize("call", OPENS)
def test_a_peer_that_never_answers_is_given_up(node, mute, call):
    with pytest.raises(casm.TimeoutError, match="within 50ms"):
        getattr(node, call)(*arguments(call, mute), timeout=0.05)
    with pytest.raises(casm.ConfigError):
        getattr(node, call)(*arguments(call, mute), timeout=-1)

    async def main():
        async with casm.aio.Node(**casm.testing.options()) as other:
            opens = getattr(other, call)
            with pytest.raises(casm.TimeoutError, match="within 50ms"):
                await opens(*arguments(call, mute), timeout=0.05)
            # Without a limit it is for who asks to call it off.
            waiting = asyncio.create_task(opens(*arguments(call, mute), timeout=None))
            done, _ = await asyncio.wait([waiting], timeout=0.2)
            assert not done
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
