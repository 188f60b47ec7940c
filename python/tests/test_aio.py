"""The asyncio face. Nobody has to call a set-up function first."""

import asyncio
import inspect
import logging

import casm
import casm.aio
import casm.testing
import pytest
from conftest import PATIENCE


def run(main):
    async def limited():
        async with asyncio.timeout(PATIENCE):
            await main()

    asyncio.run(limited())


def pair():
    options = casm.testing.options(meta={"role": "a"}, ttl=3600)
    return casm.aio.Node(**options), casm.aio.Node(**options)


def test_two_nodes_see_each_other():
    async def main():
        a, b = pair()
        async with a, b:
            assert await b.connect(a.info()) == a.id
            view = await b.wait_for(2)
            assert view.get(a.id).meta == {"role": "a"}
            assert b.connected() == [a.id] and b.addrs() and b.metrics()
            assert a.namespace == b.namespace and "aio.Node" in repr(a)
        assert a.closed and b.closed

    run(main)


def test_async_for_over_events_and_changes():
    async def main():
        a, b = pair()
        async with a, b:
            events, changes = a.events(), a.subscribe("meta:role=b")
            await b.connect(a.addrs())
            async for event in events:
                if isinstance(event, casm.PeerJoined):
                    break
            await b.set_meta({"role": "b"})
            await b.set_host("h")
            await b.set_ttl(60)
            change = await changes.next()
            assert (change.kind, change.record.peer) == ("joined", b.id)
            await b.close()
            kinds = [event async for event in _until(events, casm.PeerLeft)]
            assert kinds[-1].reason == "left"
            async with changes:
                pass
            assert [c async for c in changes] == [] and changes.dropped == 0

    run(main)


async def _until(stream, cls):
    async for item in stream:
        yield item
        if isinstance(item, cls):
            return


def test_the_view_of_another_node_is_asked_for():
    async def main():
        a, b = pair()
        async with a, b:
            await b.connect(a.info())
            await a.wait_for(2)
            view = await b.view_of(a.id)
            assert view.peer == a.id and a.id in repr(view)
            assert {record.peer async for record in view.iter()} == {a.id, b.id}
            assert (await view.get(b.id)).peer == b.id
            assert await view.lookup("host:nobody") is None
            assert (await view.count(), await view.count("host:nobody")) == (2, 0)

    run(main)


def test_a_stream_ends_when_the_node_closes():
    async def main():
        async with casm.aio.Node(**casm.testing.options()) as node:
            events = node.events()
            task = asyncio.create_task(_collect(events))
            await asyncio.sleep(0)
        assert all(isinstance(event, casm.Event) for event in await task)
        assert await events.next() is None

    run(main)


async def _collect(stream):
    return [item async for item in stream]


def test_callbacks_run_on_the_event_loop_and_may_be_coroutines(caplog):
    async def main():
        loop = asyncio.get_running_loop()
        got = asyncio.Queue()

        async def slow(event):
            await asyncio.sleep(0)
            got.put_nowait((asyncio.get_running_loop(), event))

        a, b = pair()
        async with a, b:
            a.on_event(slow)
            await b.connect(a.info())
            assert (await got.get())[0] is loop

            def throws(change):
                got.put_nowait(change)
                raise ValueError("thrown by a callback")

            with a.on_change(throws, casm.Query.match_peer(a.id)) as subscription:
                while not isinstance(await got.get(), casm.Change):
                    pass
                while subscription.failed < 1:
                    await asyncio.sleep(0.01)
            assert subscription.dropped == 0
            with pytest.raises(TypeError, match="callback: 3"):
                a.on_event(3)

    with caplog.at_level(logging.ERROR, "casm"):
        run(main)
    assert any("thrown by a callback" in str(r.exc_info[1]) for r in caplog.records)


def test_a_callback_that_is_given_at_the_start_hears_the_first_event():
    async def main():
        got = asyncio.Queue()
        options = casm.testing.options()
        async with casm.aio.Node(**options, on_event=got.put) as node:
            first = await got.get()
            assert isinstance(first, casm.Listening)
            assert (first.peer, first.addrs) == (node.id, node.addrs())
        node = await casm.aio.Node.start(casm.Config(**options), on_event=got.put_nowait)
        while (event := await got.get()).__class__ is not casm.Listening:
            pass
        assert (event.peer, event.addrs) == (node.id, node.addrs())
        await node.close()

    run(main)


def test_await_can_be_cancelled_and_limited():
    async def main():
        async with casm.aio.Node(**casm.testing.options()) as node:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await node.wait_for(100)
            task = asyncio.create_task(node.events().next())
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert len(await node.wait_for(1)) == 1

    run(main)


def test_many_awaits_at_once():
    async def main():
        async with casm.aio.Node(**casm.testing.options()) as node:
            views = await asyncio.gather(*(node.wait_for(1) for _ in range(1000)))
            assert len(views) == 1000

    run(main)


def test_calls_before_the_start_and_after_close_raise_closed():
    async def main():
        node = casm.aio.Node(**casm.testing.options())
        assert node.closed
        with pytest.raises(casm.ClosedError, match="not started"):
            node.view()
        assert await node is node
        await node.close()
        await node.close()
        for call in (node.view, node.events, node.addrs, node.metrics, node.connected):
            with pytest.raises(casm.ClosedError):
                call()
        for call in (
            node.wait_for(1),
            node.set_meta({}),
            node.update_meta({}),
            node.set_host("h"),
            node.set_ttl(10),
            node.connect("/ip4/127.0.0.1/tcp/1"),
            node.advertise("x", 1),
        ):
            with pytest.raises(casm.ClosedError):
                await call

    run(main)


def test_bad_input_raises_where_it_is_given():
    with pytest.raises(TypeError):
        casm.aio.Node(ttl="10s")

    async def main():
        with pytest.raises(casm.AddressError, match="nowhere"):
            await casm.aio.Node(boot="nowhere")
        node = await casm.aio.Node.start(casm.Config(**casm.testing.options()))
        async with node:
            with pytest.raises(casm.UnreachableError):
                await node.connect(f"/ip4/127.0.0.1/tcp/1/p2p/{casm.Key.generate().peer}")
            with pytest.raises(casm.ConfigError):
                await node.set_ttl(0)
            assert await node.find_peers(limit=1, timeout=0.01).next() is None

    run(main)


def test_it_works_on_one_event_loop_after_another():
    for _ in range(3):
        run(a_node_for_a_moment)


async def a_node_for_a_moment():
    async with casm.aio.Node(**casm.testing.options()) as node:
        await node.wait_for(1)




def test_both_faces_have_the_same_calls_and_options():
    names = lambda cls: {n for n in dir(cls) if not n.startswith("_")}  # noqa: E731
    assert names(casm.aio.Node) == names(casm.Node)
    limited = {"wait_for", "connect", "view_of", "semaphore"}
    for name in names(casm.Node) - {"id", "namespace", "closed"}:
        blocking = inspect.signature(getattr(casm.Node, name)).parameters
        awaited = inspect.signature(getattr(casm.aio.Node, name)).parameters
        # An await is limited by asyncio.timeout.
        limit = {"timeout"} if name in limited else set()
        # A handler runs on threads, or on the event loop.
        limit |= {"workers"} if name in ("serve", "serve_stream", "on_stream") else set()
        assert blocking.keys() - limit == awaited.keys(), name
    options = inspect.signature(casm.aio.Node).parameters
    assert options.keys() == inspect.signature(casm.Node).parameters.keys()
    assert options.keys() - {"on_event"} == inspect.signature(casm.Config).parameters.keys()
