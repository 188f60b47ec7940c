"""Nodes that are opened and closed, in a Python of its own: nothing grows."""

import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, gc, os, time
import casm, casm.aio, casm.testing

def blocking():
    with casm.Node(**casm.testing.options()) as node:
        node.on_event(lambda event: None)
        node.on_change(lambda change: None)
        node.serve("s", lambda request: bytes(request.data))
        assert node.call("s", b"a", timeout=60) == b"a"
        channel = node.channel("c", 1)
        channel.send(b"b")
        assert channel.recv() == b"b"
        with node.topic("t").subscribe(echo=True) as messages:
            node.topic("t").publish(b"c")
            assert next(messages).data == b"c"
        assert next(node.subscribe()).kind == "current"

async def awaited():
    async with casm.aio.Node(**casm.testing.options()) as node:
        async def serve(request):
            return bytes(request.data)
        node.serve("s", serve)
        assert await node.call("s", b"a", timeout=60) == b"a"
        async for change in node.subscribe():
            assert change.kind == "current"
            break

def rounds(many):
    for _ in range(many):
        for _ in range(5):
            blocking()
        async def five():
            await asyncio.gather(*[awaited() for _ in range(5)])
        asyncio.run(five())

def used():
    gc.collect()
    with open("/proc/self/statm") as file:
        memory = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd")), memory

# What is made once, and what the allocator keeps.
rounds(10)
before = used()
rounds(20)
for _ in range(600):
    after = used()
    if after[0] <= before[0] and after[1] <= before[1]:
        break
    # Threads end in their own time.
    time.sleep(0.1)
print("threads, descriptors, bytes:", before, "and after 200 nodes:", after)
assert after[0] <= before[0] and after[1] <= before[1], "threads or descriptors"
# 40 KiB a node: less than anything that a node keeps.
assert after[2] - before[2] < 200 * 40 * 1024, "memory"
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")
def test_two_hundred_nodes_leave_no_thread_descriptor_or_memory_behind():
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=600,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
