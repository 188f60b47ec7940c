"""A member that does what others ask of it, for the tests across languages. Its
likes are bindings/examples/across.rs and node/tests/across.mjs; what they do is said
in node/tests/languages.test.mjs.

``across.py NAMESPACE ADDR…``: says ``here ID ADDR``, and ends with its standard input.
With ``ACROSS_BOOT`` it looks for others there, and they reach it at every address.
"""

import os
import sys
import threading

import casm
import casm.testing

LANGUAGE = "python"
PROTOCOL = "/across/1"
PATIENCE = 60


def exchange(node: casm.Node, peer: str, text: str) -> str:
    """What a peer makes of a text that it is sent over a stream."""
    with node.open_stream(peer, PROTOCOL, timeout=PATIENCE) as stream:
        stream.write(text.encode())
        stream.close_write()
        return stream.read(timeout=PATIENCE).decode()


def main(namespace: str, *addrs: str) -> None:
    heard: dict[str, str] = {}
    more = threading.Condition()

    def hear(message: casm.Message) -> None:
        with more:
            heard[message.data.decode()] = message.source
            more.notify_all()

    def hears(text: str) -> str:
        with more:
            assert more.wait_for(lambda: text in heard, PATIENCE), f"{text} was never said"
            return heard[text]

    options = casm.testing.options(namespace=namespace, meta={"language": LANGUAGE})
    if boot := os.environ.get("ACROSS_BOOT"):
        options |= {"boot": boot, "listen": "/ip4/0.0.0.0/tcp/0"}
    with casm.Node(**options) as node:
        topic = node.topic("across")
        topic.on_message(hear)

        # Handlers wait for others: as many as there are orders at the same time.
        @node.serve(f"do.{LANGUAGE}", workers=16)
        def obey(request: casm.Request) -> casm.Answer:
            what, name, text = [*request.data.decode().split("|", 2), "", ""][:3]
            match what:
                case "call":
                    answer = node.call(
                        name,
                        text.encode(),
                        headers=request.headers,
                        timeout=PATIENCE,
                        wait=True,
                    )
                    said = answer.decode()
                case "whose":
                    answer = node.call(name, b"header|", timeout=PATIENCE, wait=True)
                    said = f"{answer.headers['language']} {answer.peer}"
                case "fail":
                    raise ValueError(f"no luck in {LANGUAGE}")
                case "header":
                    said = request.headers.get(name, "")
                case "parts":
                    parts = node.call_stream(name, text.encode(), timeout=PATIENCE, wait=True)
                    said = " ".join(part.decode() for part in parts)
                case "stream":
                    said = exchange(node, name, text)
                case "publish":
                    said = str(node.topic(name).publish(text.encode()))
                case "peers":
                    said = str(len(node.topic(name).wait_for_peers(int(text), timeout=PATIENCE)))
                case "see":
                    view = node.wait_for(int(text), timeout=PATIENCE)
                    said = " ".join(sorted(f"{r.meta['language']}={r.peer}" for r in view))
                case "heard":
                    said = hears(text)
                case other:
                    raise ValueError(f"{other}?")
            return casm.Answer(f"{LANGUAGE}>{said}".encode(), {"language": LANGUAGE})

        @node.serve_stream(f"count.{LANGUAGE}")
        def count(request: casm.Request):
            for n in range(int(request.data)):
                yield str(n).encode()

        def shout(stream: casm.ByteStream, peer: str) -> None:
            stream.write(f"{LANGUAGE}:{stream.read().decode().upper()}".encode())

        node.on_stream(PROTOCOL, shout)
        for addr in addrs:
            node.connect(addr, timeout=PATIENCE)
        print(f"here {node.id} {node.addrs()[0]}", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
