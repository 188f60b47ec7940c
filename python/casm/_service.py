"""The threads on which the handlers of services run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar

from . import _casm
from ._answer import Answer
from ._callbacks import failed
from ._errors import CancelledError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Handler = Callable[[_casm.Request], Any]

# A handler, what it is given, and what it gives.
H = TypeVar("H", covariant=True)
P = ParamSpec("P")
R = TypeVar("R")


class Serving(Generic[H]):
    """A service that is served, until it is stopped or its node is closed, also
    if nobody holds this. It can be called as its handler can."""

    def __init__(self, requests: _casm.Requests, handler: H) -> None:
        self._requests = requests
        self._handler = handler

    @property
    def name(self) -> str:
        """The service's name."""
        return self._requests.name

    def stop(self) -> None:
        """Serves it no more. Requests that have come are answered."""
        self._requests.stop()

    def __call__(self: Serving[Callable[P, R]], *args: P.args, **kwargs: P.kwargs) -> R:
        return self._handler(*args, **kwargs)

    def __enter__(self) -> Serving[H]:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Serving {self.name!r}>"


Serving.__module__ = "casm"


def check(handler: object) -> None:
    """Refuses what cannot be called."""
    if not callable(handler):
        raise TypeError(f"handler: {handler!r} cannot be called")


def serve(
    node: _casm.Node,
    name: str,
    handler: Handler | None,
    stream: bool,
    version: str,
    max_inflight: int,
    listed: bool,
    allow: str | Sequence[str] | None,
    workers: int,
) -> Any:
    """Serves a service on threads, or gives what does so with a handler."""
    if handler is None:
        return lambda given: serve(
            node, name, given, stream, version, max_inflight, listed, allow, workers
        )
    check(handler)
    if workers < 1:
        raise ConfigError(f"workers: {workers} is not accepted: write 1 or more")
    import _thread

    requests = _casm.serve(node, name, stream, version, max_inflight, listed, allow, workers)
    try:
        _thread.start_new_thread(_run, (requests, handler, stream))
    except BaseException:
        requests.stop()
        raise
    return Serving(requests, handler)


def _start_another(requests: _casm.Requests, handler: Handler, stream: bool) -> None:
    import _thread

    try:
        _thread.start_new_thread(_run, (requests, handler, stream))
    except RuntimeError:
        # The system has no more, or the program ends: those that are there go on.
        requests.not_started()


def _run(requests: _casm.Requests, handler: Handler, stream: bool) -> None:
    while (given := requests.next()) is not None:
        request, start = given
        del given
        if start:
            _start_another(requests, handler, stream)
        try:
            if stream:
                for part in handler(request):
                    request._part(part)
                request._answer(b"")
            else:
                answer(request, handler(request))
        except BaseException as error:
            fail(request, handler, error)
        # Nothing is kept while the next one is waited for.
        del request


def answer(request: _casm.Request, given: object) -> None:
    """Answers with what a handler gave, if that can be an answer."""
    if given is None:
        request._answer(b"")
    elif isinstance(given, Answer):
        request._answer(given, given.headers)
    elif isinstance(given, (bytes, bytearray, memoryview)):
        request._answer(given)
    else:
        raise TypeError(f"the handler gave a {type(given).__name__}, and not bytes")


def fail(request: _casm.Request, handler: object, error: BaseException) -> None:
    """Tells the caller what a handler raised, and logs it."""
    # That nobody takes its parts any more is no failure of the handler's.
    if not (isinstance(error, CancelledError) and request.cancelled):
        failed(handler, error)
    try:
        text = str(error)
    except BaseException:
        text = ""
    request._fail(text or type(error).__name__)
