"""Channels, select and semaphores for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from . import _casm
from ._aio import _call
from ._errors import CasmError, ClosedError


class Channel:
    """A channel, as ``casm.Channel`` is: ``async for`` receives until it is closed
    and empty."""

    def __init__(self, native: _casm.Channel) -> None:
        self._native = native
        self._calls = 0

    @property
    def name(self) -> str:
        """Its name."""
        return self._native.name

    @property
    def owner(self) -> str:
        """The id of the node whose it is."""
        return self._native.owner

    @property
    def waiting(self) -> int | None:
        """How many values wait in it; None if it is another node's."""
        return self._native.waiting

    @property
    def in_doubt(self) -> int:
        """How many values of a channel elsewhere may be ours, or are and were not
        received yet: the next receivers here get them."""
        return self._native.in_doubt

    async def send(
        self, value: bytes | bytearray | memoryview, timeout: float | None = None
    ) -> None:
        """Sends a value, and waits until there is room for it, or, at capacity 0,
        until it is received. Cancelled, it is withdrawn if it can be."""
        await self._fair()
        if not self._native._send_now(value, timeout):
            await _call(lambda done: self._native._send(value, timeout, done))

    async def recv(self, timeout: float | None = None) -> bytes:
        """Receives a value. Cancelled, it loses none."""
        await self._fair()
        value = self._native._recv_now(timeout)
        if value is not None:
            return value
        parcel: _casm.Parcel = await _call(
            lambda done: self._native._recv(timeout, done), _casm.Parcel.put_back
        )
        return parcel.take()

    async def _fair(self) -> None:
        """Lets others of the loop run, now and then: a channel may never be empty.
        Before a call, so that one who is cancelled here loses nothing."""
        self._calls += 1
        if self._calls % 64 == 0:
            await asyncio.sleep(0)

    async def take(self, timeout: float | None = None) -> Job:
        """Takes a value as a job, which comes back unless it is done."""
        take = self._native._take
        return Job(await _call(lambda done: take(timeout, done), _casm.Job._forget))

    async def close(self) -> None:
        """Closes it."""
        await _call(self._native._close)

    def receiving(self) -> _casm.Branch:
        """To receive from it in a ``select``."""
        return self._native.receiving()

    def sending(self, value: bytes | bytearray | memoryview) -> _casm.Branch:
        """To send this to it in a ``select``; it must be this node's own."""
        return self._native.sending(value)

    def __aiter__(self) -> Channel:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self.recv()
        except ClosedError:
            if self._native._node_closed:
                raise
            raise StopAsyncIteration from None


async def select(
    branches: Sequence[_casm.Branch], timeout: float | None = None
) -> tuple[int, bytes | None]:
    """Does the first of some branches that can be done, and says which, as
    ``casm.select`` does. Cancelled, it has done nothing."""
    at, parcel = await _call(lambda done: _casm._select(branches, timeout, done), _put_back)
    return at, None if parcel is None else parcel.take()


def _put_back(selected: tuple[int, _casm.Parcel | None]) -> None:
    _, parcel = selected
    if parcel is not None:
        parcel.put_back()


class Job:
    """A value that was taken as a job, as ``casm.Job`` is."""

    def __init__(self, native: _casm.Job) -> None:
        self._native = native

    @property
    def data(self) -> bytes:
        """The value."""
        return self._native.data

    @property
    def lost(self) -> bool:
        """Whether it has gone back, or is ended."""
        return self._native.lost

    async def done(self) -> None:
        """The job is done, and the value gone from the channel."""
        await _call(self._native._done)

    async def give_back(self) -> None:
        """The value goes back to where it was."""
        await _call(self._native._give_back)

    async def __aenter__(self) -> Job:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if not self.lost:
            # Whatever that fails with, it goes back all the same.
            with contextlib.suppress(CasmError):
                await self.give_back()


class Semaphore:
    """A semaphore, as ``casm.Semaphore`` is."""

    def __init__(self, native: _casm.Semaphore) -> None:
        self._native = native

    @property
    def name(self) -> str:
        """Its name."""
        return self._native.name

    @property
    def owner(self) -> str:
        """The id of the node whose it is."""
        return self._native.owner

    async def acquire(self, timeout: float | None = None) -> Lease:
        """Waits for a lease, in the order of asking."""
        acquire = self._native._acquire
        return Lease(await _call(lambda done: acquire(timeout, done), _casm.Lease.release))

    def close(self) -> None:
        """Closes it. Its owner alone may."""
        self._native.close()


class Lease:
    """What is held of a semaphore, as ``casm.Lease`` is."""

    def __init__(self, native: _casm.Lease) -> None:
        self._native = native

    @property
    def token(self) -> int:
        """Grows with every grant."""
        return self._native.token

    @property
    def lost(self) -> bool:
        """Whether it is not held any more."""
        return self._native.lost

    async def wait_lost(self) -> None:
        """Waits until it is not held any more."""
        await _call(self._native._wait_lost)

    def release(self) -> None:
        """Gives it back. It doesn't wait."""
        self._native.release()

    async def __aenter__(self) -> Lease:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.release()
