"""The end of a program, and that of a worker of ``multiprocessing``."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_registered = False


def register(close: Callable[[], None]) -> None:
    """Has ``close`` called when this process ends. Called once per process."""
    import atexit
    import sys

    global _registered
    # A forked child has its parent's.
    if not _registered:
        atexit.register(close)
        _registered = True
    # A worker that was forked, also by a fork server, runs no `atexit`.
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing import util

        # After all others, and when the worker's own children have ended.
        util.Finalize(None, _close_worker, args=(close,), exitpriority=-100)


def _close_worker(close: Callable[[], None]) -> None:
    import threading

    # Such a thread may go on, and is waited for only then; it keeps its nodes.
    goes_on = any(
        not thread.daemon and thread is not threading.current_thread()
        for thread in threading.enumerate()
    )
    if not goes_on:
        close()
