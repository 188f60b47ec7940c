"""Channels, select and semaphores: blocking, and for asyncio."""

import asyncio
import gc
import threading

import casm
import casm.aio
import casm.testing
import pytest

PATIENCE = 60


@pytest.fixture
def channels(pair):
    """A channel where it is, and as the other node sees it."""
    here, there = pair
    own = here.channel("jobs", 4)
    return own, there.open_channel("jobs", here.id, timeout=PATIENCE)


def test_values_go_from_node_to_node_and_end_with_the_channel(channels):
    own, other = channels
    assert (own.name, other.name, own.owner) == ("jobs", "jobs", other.owner)
    for value in (b"bytes", bytearray(b"array"), memoryview(b"view")):
        other.send(value, timeout=PATIENCE)
    assert own.waiting == 3 and other.waiting is None
    own.close()
    assert list(other) == [b"bytes", b"array", b"view"]
    with pytest.raises(casm.ClosedError, match="closed"):
        other.send(b"late", timeout=PATIENCE)
    with pytest.raises(casm.ClosedError):
        own.close()


def test_a_channel_is_found_by_its_name(pair):
    here, there = pair
    own = here.channel("named", 1)
    here.semaphore("turn", 1)
    view = there.wait_for(1, query="channel:named", timeout=PATIENCE)
    record = view.lookup("channel:named")
    assert (record.peer, list(record.channels), record.meta) == (here.id, ["named"], {})
    named = there.open_channel("named", timeout=PATIENCE)
    named.send(b"x", timeout=PATIENCE)
    assert own.recv(timeout=PATIENCE) == b"x"
    there.wait_for(1, query="meta:sem.turn=1", timeout=PATIENCE)
    there.open_semaphore("turn", timeout=PATIENCE).acquire(timeout=PATIENCE).release()
    there.channel("named", 1)
    with pytest.raises(casm.InvalidError, match=here.id):
        there.open_channel("named")
    with pytest.raises(casm.NotFoundError):
        there.open_channel("nobodys")


def test_deadlines_and_bad_values(channels, pair):
    own, other = channels
    for channel in channels:
        with pytest.raises(casm.TimeoutError):
            channel.recv(timeout=0.05)
        with pytest.raises(casm.TimeoutError):
            channel.take(timeout=0.05)
        with pytest.raises(TypeError, match="bytes"):
            channel.send("text")
        with pytest.raises(casm.TooLargeError):
            channel.send(bytes((1 << 20) + 1))
    # One of which nobody wanted a value yet.
    narrow = pair[0].channel("narrow", 1)
    elsewhere = pair[1].open_channel("narrow", own.owner, timeout=PATIENCE)
    elsewhere.send(b"x", timeout=PATIENCE)
    for channel in (narrow, elsewhere):
        with pytest.raises(casm.TimeoutError):
            channel.send(b"full", timeout=0.05)
    with pytest.raises(casm.InvalidError, match="not ours to close"):
        other.close(timeout=PATIENCE)


def test_a_block_that_fails_says_why_also_if_its_job_cannot_be_given_back(channels, pair):
    own, other = channels
    own.send(b"1", timeout=PATIENCE)
    with pytest.raises(ValueError, match="^mine$"), other.take(timeout=PATIENCE):
        pair[1].close()
        raise ValueError("mine")


def test_a_job_comes_back_unless_it_is_done(channels):
    own, other = channels
    for value in (b"1", b"2"):
        own.send(value)
    with other.take(timeout=PATIENCE) as job:
        assert job.data == b"1" and not job.lost
    assert job.lost
    job = other.take(timeout=PATIENCE)
    assert job.data == b"1"
    job.done(timeout=PATIENCE)
    with pytest.raises(casm.ClosedError, match="already"):
        job.done()
    # One that nobody holds any more.
    assert other.take(timeout=PATIENCE).data == b"2"
    gc.collect()
    job = own.take(timeout=PATIENCE)
    assert job.data == b"2"
    job.give_back()
    assert own.recv(timeout=PATIENCE) == b"2"


def test_select_takes_the_first_of_several(pair):
    here, there = pair
    elsewhere = there.channel("elsewhere", 1)
    hand = here.channel("hand")
    remote = here.open_channel("elsewhere", there.id, timeout=PATIENCE)
    with pytest.raises(casm.TimeoutError):
        casm.select([hand.receiving(), remote.receiving()], timeout=0.05)
    elsewhere.send(b"x")
    assert casm.select([hand.receiving(), remote.receiving()], timeout=PATIENCE) == (1, b"x")
    thread = threading.Thread(target=hand.recv, args=(PATIENCE,))
    thread.start()
    assert casm.select([remote.receiving(), hand.sending(b"y")], timeout=PATIENCE) == (1, None)
    thread.join(PATIENCE)
    with pytest.raises(casm.InvalidError, match="own node"):
        casm.select([remote.sending(b"y")])
    with pytest.raises(casm.InvalidError):
        casm.select([])
    with pytest.raises(TypeError):
        casm.select([hand])


def test_a_semaphore_is_held_by_as_many_as_may(pair):
    here, there = pair
    own = here.semaphore("leader", 1)
    other = there.open_semaphore("leader", here.id, timeout=PATIENCE)
    with other.acquire(timeout=PATIENCE) as lease:
        assert not lease.lost and lease.token > 0
        with pytest.raises(casm.TimeoutError):
            own.acquire(timeout=0.05)
        with pytest.raises(casm.TimeoutError):
            lease.wait_lost(timeout=0.05)
    assert lease.lost
    lease.wait_lost(timeout=PATIENCE)
    second = own.acquire(timeout=PATIENCE)
    assert second.token > lease.token
    own.close()
    assert second.lost
    with pytest.raises(casm.ClosedError):
        other.acquire(timeout=PATIENCE)


def test_a_wait_lets_other_threads_run_and_ends_with_the_node(channels, pair):
    own, other = channels
    threading.Timer(0.2, pair[1].close).start()
    with pytest.raises(casm.ClosedError, match="node"):
        next(other)
    threading.Timer(0.2, pair[0].close).start()
    with pytest.raises(casm.ClosedError, match="node"):
        for _ in own:
            pass


def test_asyncio():
    async def main():
        options = casm.testing.options()
        async with casm.aio.Node(**options) as here, casm.aio.Node(**options) as there:
            await here.connect(there.info())
            # The other end may be told of the connection a moment later.
            await there.wait_for(2)
            own = here.channel("jobs", 2)
            other = await there.open_channel("jobs", here.id)
            await other.send(b"1")
            assert await own.recv() == b"1"
            # What is cancelled loses nothing, however late.
            for n in range(60):
                task = asyncio.create_task(other.recv())
                await asyncio.sleep(0.0005 * (n % 8))
                await own.send(b"%d" % n)
                await asyncio.sleep(0.0005 * (n % 5))
                task.cancel()
                try:
                    value = await task
                except asyncio.CancelledError:
                    value = await asyncio.wait_for(other.recv(), PATIENCE)
                assert value == b"%d" % n
            hand = here.channel("hand")
            sending = asyncio.create_task(hand.send(b"x"))
            assert await casm.aio.select([own.receiving(), hand.receiving()]) == (1, b"x")
            await sending
            await own.send(b"job")
            async with await other.take() as job:
                assert job.data == b"job"
                await job.done()
            semaphore = await here.semaphore("s", 1)
            elsewhere = await there.open_semaphore("s", here.id)
            async with await elsewhere.acquire() as lease:
                with pytest.raises(casm.TimeoutError):
                    await semaphore.acquire(timeout=0.05)
            assert lease.lost
            await lease.wait_lost()
            await own.send(b"last")
            await own.close()
            assert [value async for value in other] == [b"last"]

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
