"""Pauses, in both forms, and the profile for batteries."""

import asyncio

import casm
import casm.aio
import casm.testing
import pytest
from conftest import PATIENCE


def test_a_paused_node_is_gone_for_others_and_comes_back_with_what_it_kept():
    with casm.testing.cluster(2) as (a, b):
        with b.events() as seen, a.subscribe() as changes:
            assert [next(changes).kind for _ in range(2)] == ["current"] * 2
            a.pause()
            assert a.is_paused() and a.addrs() == [] and a.connected() == []
            left = next(event for event in seen if isinstance(event, casm.PeerLeft))
            assert (left.peer, left.reason) == (a.id, "left")
            for call in (
                lambda: a.connect(b.info()),
                lambda: a.view_of(b.id),
                lambda: a.call("shout", b"", timeout=None, wait=True),
                lambda: a.topic("news").publish(b""),
                lambda: a.open_stream(b.id, "/shout/1"),
                lambda: a.open_channel("jobs", b.id, timeout=None),
            ):
                with pytest.raises(casm.PausedError, match="resume it first"):
                    call()
            with pytest.raises(casm.PausedError):
                next(a.find_peers(limit=1))
            assert len(a.view()) == 2
            a.set_meta({"life": "2"})
            a.resume()
            assert not a.is_paused() and a.addrs()
            view = b.wait_for(1, timeout=PATIENCE, query="meta:life=2")
            assert view.get(a.id).meta == {"life": "2"}
            assert next(changes).record.peer == a.id


def test_the_same_for_asyncio():
    async def main():
        async with casm.aio.Node(**casm.testing.options()) as node:
            await node.pause()
            await node.pause()
            assert node.is_paused()
            with pytest.raises(casm.PausedError):
                await node.connect("/ip4/127.0.0.1/tcp/1")
            await node.resume()
            assert not node.is_paused() and node.addrs()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "ttl"),
    [({"budget": 1}, 3.334), ({}, 1), ({"budget": 1, "pace": "fixed"}, 1), ({"pace": "auto"}, 1)],
)
def test_the_ttl_is_adapted_to_a_budget_unless_the_pace_is_fixed(options, ttl):
    # One heartbeat in a second, of a node that sends one after 0.3 of its TTL.
    with casm.Node(**casm.testing.options(ttl=1, **options)) as node:
        assert node.view().get(node.id).ttl == ttl


def test_with_low_power_what_is_left_out_is_the_profiles():
    with casm.Node(**casm.testing.options(power="low")) as node:
        assert node.view().get(node.id).ttl == 600
    with casm.Node(**casm.testing.options(power="low", ttl=20)) as node:
        assert node.view().get(node.id).ttl == 20
