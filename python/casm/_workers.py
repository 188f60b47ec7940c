"""Threads on which handlers run."""

from __future__ import annotations

import threading
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_IDLE = 10.0  # seconds


class Pool:
    """Runs work on up to ``workers`` threads, which start when they are needed and
    end when they have had nothing to do for a while. None of them keeps a program
    from ending."""

    def __init__(self, workers: int) -> None:
        if workers < 1:
            from ._errors import ConfigError

            raise ConfigError(f"workers: {workers} is not accepted: write 1 or more")
        self._workers = workers
        self._change = threading.Condition()
        self._work: deque[Callable[[], object]] = deque()
        self._threads = 0
        self._idle = 0

    def submit(self, work: Callable[[], object]) -> None:
        """Runs it as soon as a thread is free. It deals with its own errors."""
        with self._change:
            self._work.append(work)
            if self._idle >= len(self._work):
                self._change.notify()
                return
            if self._threads == self._workers:
                return
            self._threads += 1
        try:
            threading.Thread(target=self._run, name="casm-worker", daemon=True).start()
        except BaseException:
            with self._change:
                self._threads -= 1
            raise

    def _run(self) -> None:
        while (work := self._next()) is not None:
            work()
            # Nothing is kept here while the next work is waited for.
            del work

    def _next(self) -> Callable[[], object] | None:
        with self._change:
            while not self._work:
                self._idle += 1
                told = self._change.wait(_IDLE)
                self._idle -= 1
                if not told and not self._work:
                    self._threads -= 1
                    return None
            return self._work.popleft()
