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
    from ending.

    A quarter of them is not for those who have much to do: with three quarters busy,
    nobody gets more than a sixteenth. So one who ties up all threads that it can get
    leaves some to others.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            from ._errors import ConfigError

            raise ConfigError(f"workers: {workers} is not accepted: write 1 or more")
        self._workers = workers
        self._for_all = workers - workers // 4
        self._share = max(1, workers // 16)
        self._change = threading.Condition()
        # Whose work waits: those who had a turn are behind the others.
        self._work: dict[str, deque[Callable[[], object]]] = {}
        self._waiting = 0
        self._threads = 0
        self._idle = 0
        self._running = 0
        self._busy: dict[str, int] = {}

    def submit(self, whose: str, work: Callable[[], object]) -> None:
        """Runs it as soon as a thread is free for those whose work it is. It deals with
        its own errors."""
        with self._change:
            self._work.setdefault(whose, deque()).append(work)
            self._waiting += 1
            if self._idle:
                self._change.notify()
            if (
                self._idle >= self._waiting
                or self._threads == self._workers
                or not self._may_run(whose)
            ):
                return
            self._threads += 1
        try:
            threading.Thread(target=self._run, name="casm-worker", daemon=True).start()
        except BaseException:
            with self._change:
                self._threads -= 1
            raise

    def _run(self) -> None:
        done: str | None = None
        while (taken := self._next(done)) is not None:
            done, work = taken
            del taken
            work()
            # Nothing is kept here while the next work is waited for.
            del work

    def _next(self, done: str | None) -> tuple[str, Callable[[], object]] | None:
        with self._change:
            if done is not None:
                self._running -= 1
                self._busy[done] -= 1
                if not self._busy[done]:
                    del self._busy[done]
            while (taken := self._take()) is None:
                self._idle += 1
                told = self._change.wait(_IDLE)
                self._idle -= 1
                if not told and not any(map(self._may_run, self._work)):
                    self._threads -= 1
                    return None
            return taken

    def _take(self) -> tuple[str, Callable[[], object]] | None:
        for whose, waiting in self._work.items():
            if self._may_run(whose):
                break
        else:
            return None
        del self._work[whose]
        work = waiting.popleft()
        if waiting:
            self._work[whose] = waiting
        self._waiting -= 1
        self._running += 1
        self._busy[whose] = self._busy.get(whose, 0) + 1
        return whose, work

    def _may_run(self, whose: str) -> bool:
        return self._running < self._for_all or self._busy.get(whose, 0) < self._share
