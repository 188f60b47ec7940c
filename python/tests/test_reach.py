"""Whether others can reach a node, and relays."""

import asyncio

import casm
import casm.aio
import casm.testing
from conftest import PATIENCE

MAPPED = "/ip4/203.0.113.7/tcp/4001"


def test_who_announces_an_address_is_public_and_of_others_nothing_is_known(node):
    with casm.Node(**casm.testing.options(announce=MAPPED)) as public:
        known = public.reachability()
        match known:
            case casm.Reachability("public", [casm.ReachableAddr(addr, found)]):
                assert (addr, found) == (MAPPED, "announced")
            case other:
                raise AssertionError(other)
        assert known == public.reachability() and len({*known.addrs}) == 1
        shown = f'[ReachableAddr(addr="{MAPPED}", found="announced")]'
        assert repr(known) == f'Reachability(reach="public", addrs={shown})'
    known = node.reachability()
    assert (known.reach, known.addrs) == ("unknown", [])


def test_a_peer_is_reached_over_a_relay_unless_it_uses_none():
    limits = {"reservations": 2, "circuits": 4, "circuit_bytes": 2**32, "circuit_time": 3600}
    options = casm.testing.options
    # The relay knows no address at which it reaches these: they come to it over TCP, and
    # listen on QUIC alone. Each is in a namespace of its own: they don't hear of each
    # other, nor meet over QUIC.
    quic = "/ip4/127.0.0.1/udp/0/quic-v1"
    with (
        casm.Node(**options(relay=True, relay_limits=limits)) as relay,
        casm.Node(**options(listen=quic, use_relays=False, upnp=False)) as alone,
        casm.Node(**options(listen=quic)) as node,
        casm.Node(**options()) as other,
        node.events() as changes,
        other.events() as events,
    ):
        for one in (alone, node):
            assert one.connect(relay.info(), timeout=PATIENCE) == relay.id
        reach, over = None, []
        while not over:
            match changes.next(timeout=PATIENCE):
                case casm.ReachabilityChanged(casm.Reachability(reach, addrs)):
                    over = [at.addr for at in addrs if at.found == "relay"]
                case None:
                    raise AssertionError("the events ended")
        assert reach == "private" and over[0].endswith(f"/p2p/{relay.id}/p2p-circuit")
        assert other.connect(f"{over[0]}/p2p/{node.id}", timeout=PATIENCE) == node.id
        relayed = None
        while relayed is None:
            match events.next(timeout=PATIENCE):
                case casm.Relayed(relayed):
                    assert relayed == node.id
                case None:
                    raise AssertionError("the events ended")
        # It was there before, and asked for nothing.
        assert alone.reachability().addrs == []


def test_the_same_for_asyncio():
    async def main():
        async with casm.aio.Node(**casm.testing.options(announce=MAPPED, relay=True)) as node:
            return node.reachability()

    assert asyncio.run(main()).reach == "public"


def test_the_events_tell_the_same_as_the_calls():
    for event, name in [
        (casm.Relayed, "relayed"),
        (casm.Direct, "direct"),
        (casm.ReachabilityChanged, "reachability-changed"),
    ]:
        assert event.name == name and issubclass(event, casm.Event)
    assert casm.ReachabilityChanged.__match_args__ == ("reachability",)
    assert casm.Relayed.__match_args__ == casm.Direct.__match_args__ == ("peer",)
