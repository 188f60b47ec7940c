"""Topics: blocking, with callbacks, and for asyncio."""

import asyncio
import gc
import threading
import time

import casm
import casm.testing
import pytest

PATIENCE = 60


def joined(nodes, name="news", **options):
    """A handle of each node, when all know of each other."""
    topics = [node.topic(name, **options) for node in nodes]
    for topic in topics:
        topic.wait_for_peers(len(nodes) - 1, timeout=PATIENCE)
    return topics


def test_what_is_published_is_iterated_over(pair):
    one, other = joined(pair)
    assert (one.name, one.full_name) == (
        "news",
        f"/casm/1.0.0/{pair[0].namespace}/topic/news",
    )
    assert one.peers() == [pair[1].id]
    with other.subscribe() as messages, one.subscribe(echo=True) as own:
        for data in (b"a", bytearray(b"b"), memoryview(b"xcx")[1:2], b""):
            assert one.publish(data) == 1
        for data in (b"a", b"b", b"c", b""):
            for stream in (messages, own):
                message = stream.next(PATIENCE)
                assert (message.source, message.data) == (pair[0].id, data)
                assert bytes(message) == data and message.seq > 0
        assert messages.dropped == 0
        with pytest.raises(TimeoutError):
            messages.next(0.01)
    assert messages.next() is None


def test_callbacks_go_on_when_nobody_holds_them(pair):
    one, other = joined(pair)
    got, three = [], threading.Event()

    def told(message):
        got.append(message.data)
        if len(got) == 3:
            three.set()
        if message.data == b"bad":
            raise ValueError("it is to be counted")

    subscription = other.on_message(told)
    # The topic goes on with its subscription.
    other.close()
    gc.collect()
    for data in (b"bad", b"good", b"better"):
        one.publish(data)
    assert three.wait(PATIENCE)
    assert got == [b"bad", b"good", b"better"]
    assert subscription.failed == 1
    subscription.cancel()
    while one.peers():
        pass
    assert one.publish(b"nobody") == 0


def test_a_slow_subscriber_loses_what_it_chose(pair):
    one, other = joined(pair)
    slow = {full: other.subscribe(queue=2, full=full) for full in ("drop_oldest", "drop_newest")}
    # The last one to be handed a message.
    with other.subscribe() as quick:
        for n in range(5):
            one.publish(bytes([n]))
            quick.next(PATIENCE)
        for full, kept in (("drop_oldest", (3, 4)), ("drop_newest", (0, 1))):
            assert slow[full].dropped == 3
            assert [slow[full].next(PATIENCE).data[0] for _ in kept] == list(kept)


def test_only_those_whom_the_query_finds_are_heard():
    with casm.testing.cluster(2, meta={"role": "guest"}) as (guest, host):
        chief = casm.Node(guest.namespace, listen=casm.testing.LOOPBACK, boot="none", meta={"role": "chief"})
        with chief:
            chief.connect(host.info())
            host.wait_for(3, timeout=PATIENCE)
            topic = host.topic("orders", accept="meta:role=chief")
            with topic.subscribe() as messages:
                speakers = [node.topic("orders") for node in (guest, chief)]
                for speaker in speakers:
                    # The first peer that it hears of may be the other one.
                    while host.id not in speaker.peers():
                        time.sleep(0.01)
                for speaker, order in zip(speakers, (b"mutiny", b"sail"), strict=True):
                    assert speaker.publish(order) >= 1
                assert messages.next(PATIENCE).source == chief.id


def test_what_is_wrong_is_named(node):
    for name, options, said in (
        ("a/b", {}, "another character"),
        ("a" * 49, {}, "longer than 48"),
        ("/casm/x", {"exact": True}, "CASM's own"),
        ("a", {"max_data": 0}, "max_data"),
        ("a", {"accept": "role=x"}, "role=x"),
    ):
        with pytest.raises(casm.ConfigError, match=said):
            node.topic(name, **options)
    topic = node.topic("a", max_data=3)
    for options, said in (({"queue": 0}, "queue"), ({"full": "block"}, "block")):
        with pytest.raises(casm.ConfigError, match=said):
            topic.subscribe(**options)
    with pytest.raises(casm.TooLargeError, match="4 bytes"):
        topic.publish(b"four")
    for wrong in ("text", 3, None):
        with pytest.raises(TypeError, match="bytes"):
            topic.publish(wrong)
    with pytest.raises(TypeError, match="callback"):
        topic.on_message(3)
    with pytest.raises(casm.ConfigError, match="max_data"):
        node.topic("a", max_data=4)


def test_a_handle_that_is_closed_and_one_of_a_closed_node(node):
    topic = node.topic("a")
    with topic:
        pass
    for call in (lambda: topic.publish(b""), topic.peers, topic.subscribe):
        with pytest.raises(casm.ClosedError, match="handle"):
            call()
    topic = node.topic("a")
    messages = topic.subscribe()
    waiting = threading.Thread(target=lambda: list(messages))
    waiting.start()
    node.close()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    for call in (
        lambda: topic.publish(b""),
        lambda: topic.wait_for_peers(1),
        lambda: topic.on_message(print),
        topic.peers,
        topic.subscribe,
        lambda: node.topic("b"),
    ):
        with pytest.raises(casm.ClosedError):
            call()


def test_a_topic_for_asyncio():
    async def main():
        options = casm.testing.options()
        async with casm.aio.Node(**options) as one, casm.aio.Node(**options) as other:
            await one.connect(other.info())
            with one.topic("news") as topic, other.topic("news") as theirs:
                assert await topic.wait_for_peers(1) == [other.id]
                assert topic.name == "news" and topic.full_name.endswith("/topic/news")
                heard = asyncio.Queue()
                subscription = theirs.on_message(heard.put)
                messages = theirs.subscribe()
                for n in range(3):
                    assert await topic.publish(bytes([n])) == 1
                async for message in messages:
                    assert (await heard.get()).data == message.data
                    if message.data == b"\x02":
                        break
                messages.cancel()
                subscription.cancel()
                assert topic.peers() == [other.id]

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
