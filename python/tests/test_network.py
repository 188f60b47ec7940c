"""Machines whose network lacks something: a node starts there too, soon."""

import os
import subprocess
import sys

import pytest
from conftest import PATIENCE

LOOPBACK = "ip link set lo up"
NO_IPV6 = "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"

BLOCKING = """
import casm
node = casm.Node("test")
print(*node.addrs())
node.close()
"""

ASYNCIO = """
import asyncio, casm, casm.aio
async def main():
    async with casm.aio.Node("test") as node:
        print(*node.addrs())
asyncio.run(main())
"""


def run(network: str, program: str) -> list[str]:
    """What the program prints in a network of its own, which these commands
    make of one with nothing up. It must end in time."""
    made = f'{network} && echo ready && exec "$@"'
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", made, "sh", sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    if not done.stdout.startswith("ready\n"):
        if os.environ.get("CI"):
            raise RuntimeError(f"no network namespace can be made here: {done.stderr}")
        pytest.skip("no network namespace can be made here: run as root")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[1:]


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="makes network namespaces")


@pytest.mark.parametrize("program", [BLOCKING, ASYNCIO], ids=["blocking", "asyncio"])
def test_a_node_starts_where_ipv6_is_switched_off(program):
    addrs = run(f"{LOOPBACK} && {NO_IPV6}", program)
    assert addrs and all(addr.startswith("/ip4/127.0.0.1/") for addr in addrs), addrs


@pytest.mark.parametrize("program", [BLOCKING, ASYNCIO], ids=["blocking", "asyncio"])
@pytest.mark.parametrize("network", ["true", NO_IPV6], ids=["with IPv6", "without IPv6"])
def test_a_node_starts_where_not_even_loopback_is_up(network, program):
    assert run(network, program) == []
