"""How many messages of a topic come in a second, from one publisher to each of
so many subscribers of the same process, over TCP on the loopback interface. Each
message is signed, and its signature checked.

`--peer libp2p` is py-libp2p's gossipsub.
"""

import argparse
import json
import threading
import time
from collections.abc import Callable

TOPIC = "bench"
# Until then nothing is counted.
WARM = 1


class Counts:
    """What each subscriber has. The publisher is at most `window` ahead of the
    slowest."""

    def __init__(self, subscribers: int, window: int) -> None:
        self.each = [0] * subscribers
        self.window = window

    def may(self, sent: int) -> bool:
        return sent - min(self.each) < self.window


def figures(each: list[int], seconds: float) -> dict[str, float]:
    return {
        "messages_per_s": round(sum(each) / len(each) / seconds),
        "deliveries_per_s": round(sum(each) / seconds),
    }


def ours(counts: Counts, data: bytes, seconds: float) -> dict[str, float]:
    import casm.testing

    subscribers = len(counts.each)
    with casm.testing.cluster(subscribers + 1) as (publisher, *others):
        # All know all, as in a cluster that runs for long.
        for n, node in enumerate(others):
            for other in others[:n]:
                node.connect(other.info())
        streams = [node.topic(TOPIC).subscribe(queue=65536) for node in others]

        def receive(n: int) -> None:
            for _ in streams[n]:
                counts.each[n] += 1

        topic = publisher.topic(TOPIC)
        topic.wait_for_peers(subscribers, timeout=60)
        threads = [threading.Thread(target=receive, args=(n,)) for n in range(subscribers)]
        for thread in threads:
            thread.start()
        over = threading.Event()

        def publish() -> None:
            sent = 0
            while not over.is_set():
                if counts.may(sent):
                    topic.publish(data)
                    sent += 1
                else:
                    time.sleep(0.0005)

        threads.append(threading.Thread(target=publish))
        threads[-1].start()
        time.sleep(WARM)
        before, start = counts.each.copy(), time.perf_counter()
        time.sleep(seconds)
        after, took = counts.each.copy(), time.perf_counter() - start
        over.set()
        for stream in streams:
            stream.cancel()
        for thread in threads:
            thread.join()
        return figures([b - a for a, b in zip(before, after, strict=True)], took)


def py_libp2p(counts: Counts, data: bytes, seconds: float) -> dict[str, float]:
    import trio
    from libp2p import new_host
    from libp2p.crypto.ed25519 import create_new_key_pair
    from libp2p.peer.peerinfo import PeerInfo
    from libp2p.pubsub.gossipsub import PROTOCOL_ID_V12, GossipSub
    from libp2p.pubsub.pubsub import Pubsub
    from libp2p.tools.anyio_service import background_trio_service
    from multiaddr import Multiaddr

    class Peer:
        def __init__(self) -> None:
            self.host = new_host(key_pair=create_new_key_pair())
            router = GossipSub(
                protocols=[PROTOCOL_ID_V12],
                degree=6,
                degree_low=4,
                degree_high=12,
                heartbeat_interval=1,
                max_messages_per_topic_per_second=1_000_000,
                eclipse_protection_enabled=False,
            )
            self.pubsub, self.router = Pubsub(self.host, router), router

    async def start(peer: Peer, task_status=trio.TASK_STATUS_IGNORED) -> None:
        async with (
            peer.host.run(listen_addrs=[Multiaddr("/ip4/127.0.0.1/tcp/0")]),
            background_trio_service(peer.pubsub),
            background_trio_service(peer.router),
        ):
            await peer.pubsub.wait_until_ready()
            task_status.started()
            await trio.sleep_forever()

    async def main() -> dict[str, float]:
        peers = [Peer() for _ in range(len(counts.each) + 1)]
        async with trio.open_nursery() as nursery:
            for peer in peers:
                await nursery.start(start, peer)
            for n, peer in enumerate(peers):
                for other in peers[:n]:
                    info = PeerInfo(other.host.get_id(), other.host.get_addrs())
                    await peer.host.connect(info)
            publisher, *others = peers
            subscriptions = [await peer.pubsub.subscribe(TOPIC) for peer in peers]

            async def receive(n: int) -> None:
                while True:
                    await subscriptions[n + 1].get()
                    counts.each[n] += 1

            async def drain() -> None:
                # Its own messages come to the publisher too.
                while True:
                    await subscriptions[0].get()

            async def publish() -> None:
                sent = 0
                while True:
                    if counts.may(sent):
                        await publisher.pubsub.publish(TOPIC, data)
                        sent += 1
                    await trio.sleep(0)

            while len(publisher.pubsub.peer_topics.get(TOPIC, ())) < len(others):
                await trio.sleep(0.05)
            # Until the mesh is there.
            await trio.sleep(2)
            for n in range(len(others)):
                nursery.start_soon(receive, n)
            nursery.start_soon(drain)
            nursery.start_soon(publish)
            await trio.sleep(WARM)
            before, begin = counts.each.copy(), time.perf_counter()
            await trio.sleep(seconds)
            after, took = counts.each.copy(), time.perf_counter() - begin
            nursery.cancel_scope.cancel()
        return figures([b - a for a, b in zip(before, after, strict=True)], took)

    return trio.run(main)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bytes", type=int, default=64)
    parser.add_argument("--subscribers", default="1,8")
    parser.add_argument("--window", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--peer", choices=["libp2p"])
    args = parser.parse_args()
    measure: Callable[[Counts, bytes, float], dict[str, float]] = py_libp2p if args.peer else ours
    # py-libp2p holds no more than some hundred messages for a subscriber.
    window = min(args.window, 64) if args.peer else args.window
    for subscribers in map(int, args.subscribers.split(",")):
        result = measure(Counts(subscribers, window), bytes(args.bytes), args.seconds)
        told = {"bench": "topic", "language": "python", "name": args.peer or "casm"}
        print(json.dumps({**told, "subscribers": subscribers, "bytes": args.bytes, **result}))
