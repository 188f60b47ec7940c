"""Tasks that are cancelled in the moment in which what they wait for is there."""

import asyncio
import queue

import casm
import casm.aio
import casm.testing
import pytest
from casm import _aio, _casm
from conftest import PATIENCE

# Before the loop hears of the result, and between that and the task.
EARLY, LATE = "early", "late"


def run(main):
    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def within(call):
    return asyncio.wait_for(call, PATIENCE)


async def cancelled_when_done(call, when):
    """The task, and the result that it didn't get. The task keeps its exception, and
    with that whatever the exception refers to."""
    loop = asyncio.get_running_loop()
    came = queue.SimpleQueue()

    def spy(callback, *args):
        handle = type(loop).call_soon_threadsafe(loop, callback, *args)
        if callback.__name__ == "settle":
            came.put(args)
        return handle

    loop.call_soon_threadsafe = spy
    try:
        task = asyncio.ensure_future(call)
        await asyncio.sleep(0)
        # Nothing else runs on this loop meanwhile.
        result, error = came.get(timeout=PATIENCE)
        assert error is None
        if when is EARLY:
            task.cancel()
        else:
            loop.call_soon(task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            return task, result
    finally:
        del loop.call_soon_threadsafe
    pytest.fail("the task was not cancelled")


@pytest.mark.parametrize("when", [EARLY, LATE])
def test_values_jobs_and_leases_go_back(when):
    async def main():
        async with casm.aio.Node(**casm.testing.options()) as node:
            own = node.channel("jobs", 2)
            await own.send(b"1")
            await own.send(b"2")
            # One that had to wait: what is there already, ``recv`` gives at once.
            waiting = _aio._call(
                lambda done: own._native._recv(None, done), _casm.Parcel.put_back
            )
            tasks = [
                await cancelled_when_done(call, when)
                for call in (waiting, own.take(), casm.aio.select([own.receiving()]))
            ]
            assert await within(own.recv()) == b"1"
            assert await within(own.recv()) == b"2"
            semaphore = await node.semaphore("s", 1)
            tasks.append(await cancelled_when_done(semaphore.acquire(), when))
            async with await within(semaphore.acquire()) as lease:
                assert not lease.lost
            assert len(tasks) == 4

    run(main)


@pytest.mark.parametrize("when", [EARLY, LATE])
def test_items_and_parts_are_given_to_the_next(pair, when):
    def parts(request):
        yield b"1"
        yield b"2"
        yield b"3"
        if request.data:
            raise ValueError("no more")

    async def main():
        options = casm.testing.options(namespace=pair[0].namespace)
        async with casm.aio.Node(**options) as node:
            await cancelled_when_done((changes := node.subscribe()).next(), when)
            assert (await within(changes.next())).record.peer == node.id
            serving = pair[0].serve_stream("count", parts)
            answer = node.call_stream("count", peer=pair[0].info(), timeout=PATIENCE)
            got = []
            while not got or got[-1] is not None:
                # The end comes again as well.
                await cancelled_when_done(answer.next(), when)
                got.append(await within(answer.next()))
                while answer._items:
                    got.append(await answer.next())
            assert got == [b"1", b"2", b"3", None]
            # Nor is an error taken for the end.
            broken = node.call_stream("count", b"x", peer=pair[0].info(), timeout=PATIENCE)
            for n in b"123":
                assert await within(broken.next()) == bytes([n])
            await cancelled_when_done(broken.next(), when)
            with pytest.raises(casm.CasmError, match="no more"):
                await within(broken.next())
            serving.stop()

    run(main)


@pytest.mark.parametrize("when", [EARLY, LATE])
def test_a_member_that_is_busy_is_told_to_the_next(pair, when):
    began, go = queue.SimpleQueue(), queue.SimpleQueue()

    def parts(request):
        began.put(request.data)
        go.get(timeout=PATIENCE)
        yield b"1"

    async def main():
        options = casm.testing.options(namespace=pair[0].namespace)
        async with casm.aio.Node(**options) as node:
            serving = pair[0].serve_stream("one", parts, max_inflight=1)
            options = {"peer": pair[0].info(), "timeout": PATIENCE}
            first = asyncio.ensure_future(node.call_stream("one", **options).next())
            await asyncio.to_thread(began.get, timeout=PATIENCE)
            second = node.call_stream("one", **options)
            await cancelled_when_done(second.next(), when)
            # It is no word of the call that was called off, as "another call" would be.
            with pytest.raises(casm.BusyError, match="^(?!.*another call)"):
                await within(second.next())
            go.put(None)
            assert await within(first) == b"1"
            serving.stop()

    run(main)


@pytest.mark.parametrize("when", [EARLY, LATE])
def test_bytes_are_read_by_the_next(pair, when):
    def serve(stream, _):
        stream.write(b"hello")
        stream.close_write()
        stream.read()

    async def main():
        pair[0].on_stream("/x/1", serve)
        async with casm.aio.Node(**casm.testing.options()) as node:
            opened = node._node._awaited.open_stream
            raw = await _aio._call(
                lambda done: opened(pair[0].info(), "/x/1", PATIENCE, done)
            )

            def read():
                return _aio._call(lambda done: raw._read(2, done), _casm.Piece.put_back)

            got = b""
            while True:
                _task, untaken = await cancelled_when_done(read(), when)
                assert untaken.take() == b""
                piece = (await within(read())).take()
                if not piece:
                    break
                got += piece
            assert got == b"hello"
            raw.reset()

    run(main)


@pytest.mark.parametrize("when", [EARLY, LATE])
def test_a_stream_is_reset_and_a_node_closed(pair, when):
    ended = queue.SimpleQueue()

    def serve(stream, _):
        try:
            ended.put(stream.read(1, timeout=PATIENCE))
        except casm.CasmError as error:
            ended.put(error)

    async def main():
        pair[0].on_stream("/x/1", serve)
        async with casm.aio.Node(**casm.testing.options()) as node:
            await node.connect(pair[0].info())
            opening = node.open_stream(pair[0].id, "/x/1", timeout=PATIENCE)
            _task, raw = await cancelled_when_done(opening, when)
            assert raw.closed
            came = await asyncio.to_thread(ended.get, timeout=PATIENCE)
            assert isinstance(came, casm.UnreachableError)
        for on_event in (None, print):
            starting = casm.aio.Node(**casm.testing.options(), on_event=on_event)
            _task, started = await cancelled_when_done(starting._start(), when)
            native = started[0] if on_event else started
            while not native.closed:
                await asyncio.sleep(0.01)

    run(main)


def test_who_comes_right_after_one_who_was_cancelled_is_not_told_to_wait():
    async def main():
        async with casm.aio.Node(**casm.testing.options()) as node:
            changes = node.subscribe()
            assert (await within(changes.next())).record.peer == node.id
            for _ in range(200):
                task = asyncio.ensure_future(changes.next())
                await asyncio.sleep(0.0005)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            waits = asyncio.ensure_future(changes.next())
            await asyncio.sleep(0)
            await node.set_host("another")
            assert (await within(waits)).record.host == "another"

    run(main)
