"""Allow and deny lists: whom a node takes."""

import asyncio

import casm
import casm.aio
import casm.testing
import pytest
from conftest import PATIENCE


def strangers(n):
    return [casm.Key.generate().peer for _ in range(n)]


def made_up(n):
    """So many ids, of no key."""
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    # An identity multihash of what is shaped like an ed25519 key.
    number = int.from_bytes(bytes.fromhex("002408011220") + bytes(32))
    for value in range(number, number + n):
        text = ""
        while value:
            value, digit = divmod(value, 58)
            text = alphabet[digit] + text
        yield "1" + text


def put_out(events, peer):
    """Waits until a peer has left and is disconnected, and returns why it left."""
    left, disconnected = None, False
    while left is None or not disconnected:
        event = events.next(timeout=PATIENCE)
        if isinstance(event, casm.PeerLeft) and event.peer == peer:
            left = event.reason
        disconnected |= isinstance(event, casm.Disconnected) and event.peer == peer
    return left


def test_a_denied_peer_leaves_the_view_and_comes_back_when_it_is_taken_again(pair):
    a, b = pair
    with a.events() as events:
        a.deny(b.id)
        assert put_out(events, b.id) == "left"
    assert (len(a.view()), a.denied()) == (1, [b.id])
    with pytest.raises(casm.UnreachableError, match=b.id):
        a.connect(b.info(), timeout=PATIENCE)
    a.undeny([b.id])
    assert b.id in a.wait_for(2, timeout=PATIENCE) and a.denied() == []


def test_who_is_not_on_the_allow_list_is_put_out_and_comes_back(pair):
    a, b = pair
    assert a.allowed() is None
    with a.events() as events:
        a.set_allowed([])
        assert put_out(events, b.id) == "left"
    assert (len(a.view()), a.allowed()) == (1, [])
    a.allow(b.id)
    assert b.id in a.wait_for(2, timeout=PATIENCE) and a.allowed() == [b.id]


def test_the_lists_are_what_the_calls_make_them(node):
    x, y = strangers(2)
    node.set_allowed(iter([x]))
    assert node.allowed() == [x]
    node.allow({y})
    assert set(node.allowed()) == {x, y}
    node.disallow((x, y))
    # Nobody, which is not everybody.
    assert node.allowed() == []
    node.allow_all()
    assert node.allowed() is None
    node.disallow(x)
    node.allow([])
    assert node.allowed() is None
    node.deny([x, y])
    node.undeny(x)
    assert node.denied() == [y]
    node.set_denied([x])
    assert node.denied() == [x]
    # What is refused changes nothing.
    with pytest.raises(casm.ConfigError, match="65537 ids"):
        node.set_denied(made_up(65537))
    with pytest.raises(casm.AddressError):
        node.deny([y, "me"])
    assert node.denied() == [x]


def test_the_options_are_the_lists_of_a_start(node):
    x, y = strangers(2)
    given = casm.testing.options(namespace=node.namespace, allow=x, deny={y})
    with casm.Node(**given) as other:
        assert (other.allowed(), other.denied()) == ([x], [y])
        with pytest.raises(casm.UnreachableError):
            other.connect(node.info(), timeout=PATIENCE)
    key = casm.Key.generate()
    with pytest.raises(casm.ConfigError, match=key.peer):
        casm.Node(**casm.testing.options(key=key, deny=[key.peer]))
    # None of them is no list.
    with casm.Node(**casm.testing.options(allow=[], deny=[])) as other:
        assert (other.allowed(), other.denied()) == (None, [])


def test_the_same_for_asyncio():
    options = casm.testing.options()

    async def main():
        stranger = casm.Key.generate().peer
        async with casm.aio.Node(**options, allow=stranger, deny=[stranger]) as node:
            assert (node.allowed(), node.denied()) == ([stranger], [stranger])
            node.disallow(stranger)
            assert node.allowed() == []
            node.allow_all()
            node.set_denied([])
            assert (node.allowed(), node.denied()) == (None, [])
            async with casm.aio.Node(**options) as other:
                await node.connect(other.info())
                await node.wait_for(2)
                async with node.events() as events:
                    node.deny(other.id)
                    async for event in events:
                        if isinstance(event, casm.PeerLeft):
                            break
                assert (event.peer, event.reason) == (other.id, "left")
                node.undeny(other.id)
                assert other.id in await node.wait_for(2)
                node.set_allowed([other.id])
                node.allow([stranger])
                assert set(node.allowed()) == {other.id, stranger}
                for refused, error in (("me", casm.AddressError), (node.id, casm.ConfigError)):
                    with pytest.raises(error):
                        node.deny(refused)

    async def limited():
        async with asyncio.timeout(PATIENCE):
            await main()

    asyncio.run(limited())
