"""Clusters for tests: on the loopback interface only, with no discovery, so
that tests neither disturb each other nor anyone else.

    >>> with casm.testing.cluster(3) as nodes:
    ...     assert len(nodes[0].view()) == 3
"""

from __future__ import annotations

import uuid
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

from . import Node

__all__ = ["cluster", "options"]

LOOPBACK = "/ip4/127.0.0.1/tcp/0"


def options(**given: Any) -> dict[str, Any]:
    """The options of a node that listens on the loopback interface only, looks
    for nobody, and is in a namespace of its own; with those that are given."""
    private = {"namespace": f"test-{uuid.uuid4()}", "listen": LOOPBACK, "boot": "none"}
    return {**private, **given}


@contextmanager
def cluster(n: int, *, timeout: float = 60, **given: Any) -> Generator[list[Node], None, None]:
    """A cluster of ``n`` nodes that see each other, closed at the end.

    Args:
        n: How many nodes, from 1 up.
        timeout: Seconds until all must see all.
        given: Options of ``casm.Config`` for every node.
    """
    if n < 1:
        raise ValueError(f"n: {n} is not accepted: a cluster has 1 node or more")
    config = options(**given)
    with ExitStack() as stack:
        nodes = [stack.enter_context(Node(**config)) for _ in range(n)]
        first = nodes[0].info()
        for node in nodes[1:]:
            node.connect(first, timeout=timeout)
        for node in nodes:
            node.wait_for(n, timeout=timeout)
        yield nodes
