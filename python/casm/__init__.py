"""CASM: programs find each other, stay connected, and share a live view of who
is there, with no server.

    >>> import casm
    >>> with casm.Node(namespace="demo", meta={"role": "worker"}) as node:
    ...     for record in node.wait_for(3, timeout=10).iter("meta:role=worker"):
    ...         print(record.peer, record.host)

``casm.aio`` is the same for asyncio.
"""

from ._casm import (
    Change,
    ClockDiffers,
    Config,
    Connected,
    Disconnected,
    Dropped,
    Event,
    Found,
    Key,
    KeyShared,
    Listening,
    Node,
    PeerInfo,
    PeerJoined,
    PeerLeft,
    PeersFound,
    PeerStatus,
    PeerUpdated,
    Query,
    Record,
    Records,
    RemoteView,
    Stream,
    Subscription,
    View,
    ViewChanged,
    __version__,
)
from ._errors import (
    AddressError,
    BindError,
    BusyError,
    CancelledError,
    CasmError,
    ClosedError,
    ConfigError,
    InternalError,
    InvalidError,
    IoError,
    NotFoundError,
    PausedError,
    ProtocolError,
    TimeoutError,
    TooLargeError,
    UnreachableError,
)
from ._log import forward_logs

__all__ = [
    "AddressError",
    "BindError",
    "BusyError",
    "CancelledError",
    "CasmError",
    "Change",
    "ClockDiffers",
    "ClosedError",
    "Config",
    "ConfigError",
    "Connected",
    "Disconnected",
    "Dropped",
    "Event",
    "Found",
    "InternalError",
    "InvalidError",
    "IoError",
    "Key",
    "KeyShared",
    "Listening",
    "Node",
    "NotFoundError",
    "PausedError",
    "PeerInfo",
    "PeerJoined",
    "PeerLeft",
    "PeerUpdated",
    "PeersFound",
    "PeerStatus",
    "ProtocolError",
    "Query",
    "Record",
    "Records",
    "RemoteView",
    "Stream",
    "Subscription",
    "TimeoutError",
    "TooLargeError",
    "UnreachableError",
    "View",
    "ViewChanged",
    "__version__",
    "aio",
    "forward_logs",
]

# As `typing` has it, which takes long to import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import aio
else:

    def __getattr__(name: str) -> object:
        # asyncio takes long to import, and not every program needs it.
        if name == "aio":
            import importlib

            return importlib.import_module("casm.aio")
        raise AttributeError(f"module 'casm' has no attribute {name!r}")
