"""A private cluster for each test: on the loopback interface only, in a
namespace of its own.

    pytest test_with_a_cluster.py
"""

from collections.abc import Iterator

import casm
import casm.testing
import pytest


@pytest.fixture
def cluster() -> Iterator[list[casm.Node]]:
    with casm.testing.cluster(3) as nodes:
        yield nodes


def test_everyone_sees_everyone(cluster: list[casm.Node]) -> None:
    for node in cluster:
        assert {record.peer for record in node.view()} == {other.id for other in cluster}


def test_a_role_is_found(cluster: list[casm.Node]) -> None:
    boss, worker, _ = cluster
    with boss.subscribe("meta:role=worker") as changes:
        worker.set_meta({"role": "worker"})
        change = changes.next(timeout=60)
    assert change is not None and change.record is not None
    assert change.record.peer == worker.id
