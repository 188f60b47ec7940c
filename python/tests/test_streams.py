"""Byte streams: as files, and as asyncio's readers and writers."""

import asyncio
import io
import queue
import shutil
import threading

import casm
import casm.aio
import casm.testing
import pytest
from conftest import PATIENCE


def echo(stream, peer):
    while piece := stream.read(1000):
        stream.write(piece)


def opened(pair, handler):
    """A stream between two nodes, of which the other end is given to a handler."""
    a, b = pair
    b.on_stream("/x/1", handler)
    return a.open_stream(b.info(), "/x/1", timeout=PATIENCE)


def test_a_stream_is_a_file(pair):
    a, b = pair
    seen = queue.SimpleQueue()

    def serve(stream, peer):
        seen.put((stream.peer, peer, stream.protocol))
        lines = io.BufferedReader(stream)
        assert lines.readline() == b"first\n"
        rest = lines.read()
        stream.write(b"%d bytes" % len(rest))

    with opened(pair, serve) as stream:
        stream.timeout = PATIENCE
        assert (stream.peer, stream.protocol) == (b.id, "/x/1")
        assert stream.readable() and stream.writable() and not stream.seekable()
        assert stream.write(b"first\n") == 6
        shutil.copyfileobj(io.BytesIO(bytes(1_000_000)), stream)
        for data in (bytearray(b"abc"), memoryview(b"abcdef")[::2], memoryview(b"xyz")):
            assert stream.write(data) == 3
        stream.close_write()
        stream.close_write()
        with pytest.raises(casm.ClosedError):
            stream.write(b"more")
        assert stream.read(3) == b"100"
        assert stream.read() == b"0009 bytes"
        assert stream.read(10) == b"" and stream.read(0) == b""
    assert stream.closed and "closed" in repr(stream)
    with pytest.raises(casm.ClosedError):
        stream.read(1)
    assert seen.get(timeout=PATIENCE) == (a.id, a.id, "/x/1")
    for wrong in ("text", 5, None, [1]):
        with pytest.raises(TypeError):
            opened_again = a.open_stream(b.id, "/x/1", timeout=PATIENCE)
            opened_again.write(wrong)


def test_a_record_an_id_and_an_address_lead_there(pair):
    a, b = pair
    b.on_stream("/x/1", echo)
    record = a.wait_for(2, timeout=PATIENCE).get(b.id)
    assert record.addrs == b.info().addrs
    for peer in (record, b.id, b.addrs()[0], b.info()):
        with a.open_stream(peer, "/x/1", timeout=PATIENCE) as stream:
            stream.write(b"hi")
            assert stream.read(2, timeout=PATIENCE) == b"hi"
    assert a.view_of(record, timeout=PATIENCE).count() == 2
    with pytest.raises(casm.NotFoundError):
        a.open_stream(casm.Key.generate().peer, "/x/1")
    with pytest.raises(casm.ProtocolError):
        a.open_stream(b.id, "/nobody")
    with pytest.raises(casm.ConfigError, match="not for programs"):
        a.open_stream(b.id, "/casm/x")
    with pytest.raises(casm.ConfigError, match="workers"):
        b.on_stream("/y/1", echo, workers=0)
    with pytest.raises(TypeError):
        b.on_stream("/y/1", None)
    with pytest.raises(casm.BusyError):
        b.on_stream("/x/1", echo)


def test_a_read_that_takes_too_long_can_be_tried_again(pair):
    go = threading.Event()

    def serve(stream, _):
        go.wait(PATIENCE)
        stream.write(b"late")
        stream.write(stream.read(4, timeout=PATIENCE))
        stream.read()

    with opened(pair, serve) as stream:
        with pytest.raises(TimeoutError):
            stream.read(4, timeout=0.05)
        stream.timeout = 0.05
        with pytest.raises(TimeoutError):
            stream.read(4)
        go.set()
        assert stream.read(4, timeout=PATIENCE) == b"late"
        # What had come before one waited for the end too long.
        stream.write(b"more")
        with pytest.raises(TimeoutError):
            stream.read()
        assert stream.read(1) + stream.read(1) == b"mo"
        with pytest.raises(TimeoutError):
            stream.read(timeout=0.05)
        stream.close_write()
        assert stream.read(timeout=PATIENCE) == b"re"
        # More than the peer has room for: a part is gone.
        go.clear()
    with opened_second(pair) as stream:
        with pytest.raises(TimeoutError):
            stream.write(bytes(4_000_000), timeout=0.1)
        with pytest.raises(casm.ClosedError):
            stream.write(b"x")


def opened_second(pair):
    a, b = pair
    b.on_stream("/stall/1", lambda stream, _: threading.Event().wait(0.5))
    return a.open_stream(b.id, "/stall/1", timeout=PATIENCE)


def test_a_handler_that_raises_resets_its_stream_and_is_counted(pair, caplog):
    def fails(stream, _):
        stream.read(1)
        raise RuntimeError("on purpose")

    a, b = pair
    subscription = b.on_stream("/x/1", fails)
    with a.open_stream(b.info(), "/x/1", timeout=PATIENCE) as stream:
        stream.write(b"x")
        with pytest.raises(casm.UnreachableError) as raised:
            stream.read(1, timeout=PATIENCE)
        assert isinstance(raised.value, ConnectionError)
        stream.reset()
    assert subscription.failed == 1 and "on purpose" in caplog.text
    subscription.cancel()

    # So does one that ends by an exception, and one that nobody uses.
    came = queue.SimpleQueue()

    def reads(stream, _):
        try:
            came.put(stream.read(10))
        except casm.UnreachableError as error:
            came.put(error)

    b.on_stream("/z/1", reads)
    with pytest.raises(RuntimeError):
        with a.open_stream(b.id, "/z/1", timeout=PATIENCE):
            raise RuntimeError
    assert isinstance(came.get(timeout=PATIENCE), casm.UnreachableError)
    a.open_stream(b.id, "/z/1", timeout=PATIENCE)
    assert isinstance(came.get(timeout=PATIENCE), casm.UnreachableError)


def test_handlers_run_side_by_side_on_so_many_threads(pair):
    a, b = pair
    at_work = threading.Semaphore(0)
    go = threading.Event()

    def serve(stream, _):
        at_work.release()
        go.wait(PATIENCE)
        stream.write(b"done")

    b.on_stream("/x/1", serve, workers=3)
    streams = [a.open_stream(b.info(), "/x/1", timeout=PATIENCE) for _ in range(5)]
    for _ in range(3):
        assert at_work.acquire(timeout=PATIENCE)
    assert not at_work.acquire(timeout=0.1)
    go.set()
    for stream in streams:
        assert stream.readall(PATIENCE) == b"done"


def test_one_peer_with_many_silent_streams_leaves_threads_to_others():
    with casm.testing.cluster(3) as (server, silent, other):
        begun = threading.Semaphore(0)

        def serve(stream, peer):
            begun.release()
            stream.write(stream.read(1))

        server.on_stream("/x/1", serve, workers=8)
        streams = [silent.open_stream(server.info(), "/x/1", timeout=PATIENCE) for _ in range(20)]
        for _ in range(6):
            assert begun.acquire(timeout=PATIENCE)
        for _ in range(3):
            with other.open_stream(server.info(), "/x/1", timeout=PATIENCE) as stream:
                stream.write(b"x")
                assert stream.read(1, timeout=PATIENCE) == b"x"
        # Those that wait have their turn.
        for stream in streams:
            stream.write(b"y")
        for stream in streams:
            assert stream.read(1, timeout=PATIENCE) == b"y"
            stream.close()


def test_other_threads_run_while_one_reads_and_a_reset_ends_it(pair):
    stream = opened(pair, lambda stream, _: stream.read())
    results = queue.SimpleQueue()

    def read():
        try:
            results.put(stream.read(1))
        except casm.ClosedError as error:
            results.put(error)

    thread = threading.Thread(target=read)
    thread.start()
    stream.write(b"this thread goes on")
    stream.reset()
    thread.join(PATIENCE)
    assert isinstance(results.get(timeout=PATIENCE), casm.ClosedError)


def test_a_closed_node_takes_and_opens_none(pair):
    a, b = pair
    stream = opened(pair, echo)
    b.close()
    with pytest.raises(casm.UnreachableError):
        stream.read(1, timeout=PATIENCE)
    with pytest.raises(casm.ClosedError):
        b.on_stream("/y/1", echo)
    a.close()
    for call in (lambda: stream.read(1), lambda: stream.write(b"x"), stream.close_write):
        with pytest.raises(casm.ClosedError):
            call()
    with pytest.raises(casm.ClosedError):
        a.open_stream(b.id, "/x/1")
    stream.close()


def test_a_program_ends_though_a_handler_and_a_reader_wait(python):
    for _ in range(5):
        done = python(
            """
a, b = casm.Node(**options()), casm.Node(**options())
b.on_stream("/x/1", lambda stream, peer: stream.read(1))
stream = a.open_stream(b.info(), "/x/1")
threading.Thread(target=lambda: stream.read(1), daemon=True).start()
stream.write(b"")
print("end", flush=True)
"""
        )
        assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr


def run(main):
    async def limited():
        async with asyncio.timeout(PATIENCE):
            await main()

    asyncio.run(limited())


def nodes():
    options = casm.testing.options(ttl=3600)
    return casm.aio.Node(**options), casm.aio.Node(**options)


def test_asyncio_has_readers_and_writers():
    async def main():
        a, b = nodes()
        seen = asyncio.Queue()

        async def serve(reader, writer):
            await seen.put(writer.get_extra_info("peer"))
            line = await reader.readline()
            rest = await reader.read()
            writer.write(line.upper() + b"%d" % len(rest))
            await writer.drain()

        async with a, b:
            with b.on_stream("/x/1", serve) as served:
                reader, writer = await a.open_stream(b.info(), "/x/1")
                assert writer.get_extra_info("protocol") == "/x/1"
                writer.write(b"line\n")
                for _ in range(100):
                    writer.write(bytes(50_000))
                    await writer.drain()
                assert writer.can_write_eof()
                writer.write_eof()
                assert await reader.read() == b"LINE\n5000000"
                writer.close()
                await writer.wait_closed()
                assert await seen.get() == a.id
                assert (served.failed, served.dropped) == (0, 0)
            while True:
                try:
                    _, writer = await a.open_stream(b.id, "/x/1")
                    writer.transport.abort()
                except casm.ProtocolError:
                    break

    run(main)


def test_a_handler_of_asyncio_that_raises_resets_its_stream(caplog):
    async def main():
        a, b = nodes()

        async def fails(reader, writer):
            await reader.readexactly(1)
            raise RuntimeError("on purpose")

        async with a, b:
            served = b.on_stream("/x/1", fails)
            reader, writer = await a.open_stream(b.info(), "/x/1")
            writer.write(b"x")
            with pytest.raises(casm.UnreachableError):
                await reader.read(1)
            assert served.failed == 1 and "on purpose" in caplog.text
            # A reader that is slow holds up the writer, and nobody else.
            slow = asyncio.Event()

            async def stalls(reader, writer):
                await slow.wait()
                writer.write(b"%d" % len(await reader.read()))

            b.on_stream("/slow/1", stalls)
            reader, writer = await a.open_stream(b.id, "/slow/1")
            writer.write(bytes(5_000_000))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await writer.drain()
            slow.set()
            await writer.drain()
            writer.write_eof()
            assert await reader.read() == b"5000000"
            # A task that is cancelled while it reads leaves the stream as it is.
            reader, writer = await a.open_stream(b.id, "/slow/1")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await reader.read(1)
            writer.write(b"abc")
            writer.write_eof()
            assert await reader.read() == b"3"
            with pytest.raises(TypeError):
                b.on_stream("/y/1", None)
        with pytest.raises(casm.ClosedError):
            await a.open_stream(b.id, "/x/1")

    run(main)
