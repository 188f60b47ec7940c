"""Private clusters: who holds the secret is in."""

import asyncio
import base64
import os
import subprocess
import sys

import casm
import casm.aio
import casm.testing
import pytest
from conftest import PATIENCE

KEY = bytes.fromhex("6189c5cf0b87fb800c1a9feeda73c6ab5e998db48fb9e6a978575c770ceef683")
FINGERPRINT = "45fc986bbc9388a11d939df26f730f0c"


def swarm_key(encoding, key):
    return b"/key/swarm/psk/1.0.0/\n/" + encoding.encode() + b"/\n" + key


def test_a_secret_is_read_in_every_encoding_and_not_shown(tmp_path):
    for encoding, key in [
        ("base16", KEY.hex().encode()),
        ("base64", base64.b64encode(KEY)),
        ("bin", KEY),
    ]:
        secret = casm.Secret.parse(swarm_key(encoding, key))
        assert secret.fingerprint == FINGERPRINT
        for text in (repr(secret), str(secret)):
            assert FINGERPRINT in text
            assert KEY.hex()[:8] not in text
    path = tmp_path / "swarm.key"
    secret = casm.Secret.generate()
    secret.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert casm.Secret.load(str(path)).fingerprint == secret.fingerprint
    with pytest.raises(casm.ConfigError, match="not overwritten"):
        secret.save(path)


def test_what_is_no_secret_is_refused_and_not_shown(tmp_path):
    whole = swarm_key("base16", KEY.hex().encode())
    cut = tmp_path / "cut"
    cut.write_bytes(whole[:70])
    for refuse in (
        lambda: casm.Secret.parse(whole[:70]),
        lambda: casm.Secret.parse(KEY),
        lambda: casm.Secret.load(cut),
        lambda: casm.Node(**casm.testing.options(secret=cut)),
        # The secret where its file is to be named.
        lambda: casm.Node(**casm.testing.options(secret=KEY.hex())),
        lambda: casm.Node(**casm.testing.options(secret=whole.decode())),
        lambda: casm.Node(**casm.testing.options(secret=whole)),
    ):
        with pytest.raises((casm.ConfigError, TypeError)) as error:
            refuse()
        for part in (KEY.hex()[:20], repr(KEY)[2:20]):
            assert part not in str(error.value)


def test_a_node_without_the_secret_stays_out(tmp_path):
    path = tmp_path / "swarm.key"
    secret = casm.Secret.generate()
    secret.save(path)
    with casm.Node(**casm.testing.options(secret=secret)) as member:
        assert all("/tcp/" in addr for addr in member.addrs())
        given = {"namespace": member.namespace}
        with casm.Node(**casm.testing.options(**given, secret=path)) as other:
            other.connect(member.info(), timeout=PATIENCE)
            other.wait_for(2, timeout=PATIENCE)
        for stranger in ({}, {"secret": casm.Secret.generate()}):
            with casm.Node(**casm.testing.options(**given, **stranger)) as node:
                with pytest.raises(casm.UnreachableError):
                    node.connect(member.info(), timeout=PATIENCE)
                assert len(node.view()) == 1
        with pytest.raises(casm.ConfigError, match="QUIC has no pre-shared key"):
            casm.Node(**casm.testing.options(secret=secret, listen="/ip4/127.0.0.1/udp/0/quic-v1"))


def test_the_same_for_asyncio():
    options = casm.testing.options(secret=casm.Secret.generate())

    async def main():
        async with casm.aio.Node(**options) as member, casm.aio.Node(**options) as other:
            await other.connect(member.info())
            assert len(await other.wait_for(2)) == 2

    async def limited():
        async with asyncio.timeout(PATIENCE):
            await main()

    asyncio.run(limited())


@pytest.mark.parametrize("given", ["good", "cut", "empty", "absent"])
def test_the_variable_names_the_file(tmp_path, given):
    good = tmp_path / "good"
    casm.Secret.generate().save(good)
    (tmp_path / "cut").write_bytes(good.read_bytes()[:60])
    name = "" if given == "empty" else str(tmp_path / given)
    program = """
import casm, casm.testing
with casm.Node(**casm.testing.options()) as node:
    with casm.Node(**casm.testing.options(listen=[])) as everywhere:
        print(any("quic" in addr for addr in everywhere.addrs()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=os.environ | {"CASM_SECRET_FILE": name},
    )
    if given == "good":
        assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
    else:
        # It must not be open by a slip.
        assert done.returncode == 1
        assert "secret file" in done.stderr
