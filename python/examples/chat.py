"""A chat: all who are in it read what each says.

    python chat.py NAME [TOPIC]

The topic's name is taken as it is, so that other libp2p programs can join in: a line
is a message of plain text.
"""

import sys

import casm


def show(message: casm.Message) -> None:
    print(message.data.decode(errors="replace"), flush=True)


def main(name: str, topic: str = "casm-chat") -> None:
    with casm.Node("chat", meta={"name": name}) as node:
        chat = node.topic(topic, exact=True)
        chat.on_message(show)
        chat.wait_for_peers(1)
        print(f"{len(chat.peers())} more are here: type", flush=True)
        for line in sys.stdin:
            chat.publish(f"{name}: {line.strip()}".encode())


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        pass
