"""Certificates: who may join is what an authority has signed."""

import asyncio

import casm
import casm.aio
import casm.testing
import pytest
from authority import Authority
from conftest import PATIENCE
from test_lists import put_out

ROLE = "the-role"


@pytest.fixture
def ca():
    return Authority()


def options(ca, *roles, **given):
    """The options of a member with these roles."""
    key = casm.Key.generate()
    certificate = ca.certificate(key.peer, "orchard", *roles)
    return casm.testing.options(
        **{"namespace": "orchard", "key": key, "admit": ca.id, "certificate": certificate, **given}
    )


def told(node, peer, *roles):
    """Waits until these roles of a peer are known."""
    with node.subscribe(casm.Query.match_peer(peer)) as changes:
        while node.view().get(peer).roles != list(roles):
            changes.next(timeout=PATIENCE)


def test_members_see_each_other_and_what_an_authority_says_of_them(ca, tmp_path):
    file = tmp_path / "certificate"
    key = casm.Key.generate()
    file.write_bytes(ca.certificate(key.peer, "orchard", "b", "a"))
    with (
        casm.Node(**options(ca, "boss")) as a,
        casm.Node(**options(ca, key=key, certificate=file)) as b,
    ):
        a.connect(b.info(), timeout=PATIENCE)
        a.wait_for(2, timeout=PATIENCE)
        b.wait_for(2, timeout=PATIENCE)
        told(a, b.id, "a", "b")
        told(b, a.id, "boss")
        # Renewed by a call, and by the file.
        a.renew(ca.certificate(a.id, "orchard", "chief"))
        told(b, a.id, "chief")
        file.write_bytes(ca.certificate(key.peer, "orchard", ROLE))
        told(a, b.id, ROLE)
        # What is not acceptable leaves the one that there is.
        for refused in (
            b"",
            b"nonsense",
            ca.certificate(b.id, "orchard"),
            ca.certificate(a.id, "elsewhere"),
            Authority().certificate(a.id, "orchard"),
            ca.revocation(a.id),
        ):
            with pytest.raises(casm.ConfigError):
                a.renew(refused)
        assert (a.view().get(a.id).roles, len(a.view())) == (["chief"], 2)


def test_who_is_no_member_or_not_any_more_is_put_out(ca):
    with casm.Node(**options(ca)) as a, casm.Node(**options(ca)) as b:
        a.connect(b.info(), timeout=PATIENCE)
        a.wait_for(2, timeout=PATIENCE)
        other = Authority()
        for stranger in (
            casm.testing.options(namespace="orchard"),
            # It would take whom they take.
            options(other, admit=[other.id, ca.id]),
        ):
            with casm.Node(**stranger) as node:
                with pytest.raises(casm.UnreachableError):
                    a.connect(node.info(), timeout=PATIENCE)
                assert (len(node.view()), len(a.view())) == (1, 2)
        broken = b"-----BEGIN CASM REVOCATION-----\nnonsense"
        for refused in (broken, ca.certificate(b.id, "orchard"), other.revocation(b.id)):
            with pytest.raises(casm.ConfigError):
                a.revoke(refused)
        with a.events() as events:
            taken_back = ca.revocation(b.id)
            assert (a.revoke(taken_back), a.revoke(memoryview(taken_back)), a.revoke(b"")) == (1, 0, 0)
            assert put_out(events, b.id) == "left"
        with pytest.raises(casm.UnreachableError):
            a.connect(b.info(), timeout=PATIENCE)


def test_a_file_of_revocations_counts_from_the_start(ca, tmp_path):
    given = options(ca)
    file = tmp_path / "revoked"
    file.write_bytes(ca.revocation(given["key"].peer))
    with casm.Node(**options(ca, revoked=file)) as a, casm.Node(**given) as b:
        with pytest.raises(casm.UnreachableError):
            a.connect(b.info(), timeout=PATIENCE)


def test_what_does_not_go_together_is_refused(ca, tmp_path, node):
    whole = options(ca)
    other = Authority().certificate(whole["key"].peer, "orchard")
    for change, error, said in [
        ({"admit": None}, casm.ConfigError, "admit"),
        ({"certificate": None}, casm.ConfigError, "certificate"),
        ({"key": None}, casm.ConfigError, "key"),
        ({"key": casm.Key.generate()}, casm.ConfigError, "certificate"),
        ({"namespace": "elsewhere"}, casm.ConfigError, "orchard"),
        ({"certificate": other}, casm.ConfigError, "authority"),
        ({"certificate": b"nonsense"}, casm.ConfigError, "certificate"),
        ({"certificate": tmp_path / "none"}, casm.IoError, "none"),
        ({"certificate": str(tmp_path / "none")}, casm.IoError, "none"),
        ({"revoked": tmp_path / "none"}, casm.IoError, "none"),
        ({"admit": "me"}, casm.AddressError, 'admit: peer id "me"'),
        ({"certificate": 7}, TypeError, "bytes"),
        ({"revoked": 7}, TypeError, "PathLike"),
    ]:
        with pytest.raises(error) as raised:
            casm.Node(**{**whole, **change})
        assert said in str(raised.value), change
    for call in (node.renew, node.revoke):
        with pytest.raises(TypeError):
            call("text")
    with pytest.raises(casm.InvalidError, match="admit"):
        node.renew(whole["certificate"])
    with pytest.raises(casm.InvalidError, match="admit"):
        node.revoke(ca.revocation(node.id))


def test_the_same_for_asyncio(ca):
    async def main():
        async with casm.aio.Node(**options(ca)) as a, casm.aio.Node(**options(ca)) as b:
            await a.connect(b.info())
            await a.wait_for(2)
            b.renew(ca.certificate(b.id, "orchard", ROLE))
            await a.wait_for(1, query=casm.Query.role(ROLE))
            async with a.events() as events:
                assert a.revoke(bytearray(ca.revocation(b.id))) == 1
                async for event in events:
                    if isinstance(event, casm.PeerLeft):
                        break
            assert event.peer == b.id

    async def limited():
        async with asyncio.timeout(PATIENCE):
            await main()

    asyncio.run(limited())
