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


def test_a_relay_and_one_that_uses_none_connect_as_any_node_does():
    limits = {"reservations": 2, "circuits": 4, "circuit_bytes": 2**32, "circuit_time": 60}
    relay = casm.testing.options(relay=True, relay_limits=limits)
    alone = {**casm.testing.options(use_relays=False, upnp=False), "namespace": relay["namespace"]}
    with casm.Node(**relay) as a, casm.Node(**alone) as b:
        assert b.connect(a.info()) == a.id
        assert a.id in b.wait_for(2, timeout=PATIENCE)


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
