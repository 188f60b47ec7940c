"""The thread on which a node's callbacks run."""

from __future__ import annotations

from . import _casm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


def run(driver: _casm.Driver) -> None:
    """Does the work of a driver until there will be no more."""
    while (work := driver.next()) is not None:
        while work:
            # Nothing is kept here while the next work is waited for.
            _do(*work.pop(0))


def _do(
    delivery: _casm.Delivery | None, callback: Callable[..., object], items: Sequence[Any]
) -> None:
    if delivery is None:
        try:
            callback(*items)
        except BaseException as error:
            failed(callback, error)
        return
    for item in items:
        if delivery.cancelled:
            break
        try:
            callback(item)
        except BaseException as error:
            delivery.count_failure()
            failed(callback, error)


def failed(callback: object, error: BaseException) -> None:
    """Logs what a callback raised."""
    import logging

    try:
        logging.getLogger("casm").error("the callback %r failed", callback, exc_info=error)
    except BaseException:
        # A handler of theirs failed.
        _print_error()


def _print_error() -> None:
    import traceback

    try:
        traceback.print_exc()
    except BaseException:
        # A program without a terminal may have closed standard error, to which
        # logging writes too. There is nobody to tell; the thread goes on.
        pass
