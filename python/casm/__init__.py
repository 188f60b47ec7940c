"""CASM: programs find each other, stay connected, and share a live view of who
is there, with no server.

    >>> import casm
    >>> with casm.Node(namespace="demo", meta={"role": "worker"}) as node:
    ...     for record in node.wait_for(3, timeout=10).iter("meta:role=worker"):
    ...         print(record.peer, record.host)

``casm.aio`` is the same for asyncio.
"""

from ._casm import (
    Branch,
    Change,
    Channel,
    ClockDiffers,
    Config,
    Connected,
    Direct,
    Disconnected,
    Dropped,
    Event,
    Found,
    Job,
    Key,
    KeyShared,
    Lease,
    Listening,
    Message,
    Node,
    PeerInfo,
    PeerJoined,
    PeerLeft,
    PeerReply,
    PeersFound,
    PeerStatus,
    PeerUpdated,
    Query,
    Reachability,
    ReachabilityChanged,
    ReachableAddr,
    Record,
    Records,
    Relayed,
    RemoteView,
    Request,
    Secret,
    Semaphore,
    ServiceStats,
    Stream,
    Subscription,
    Topic,
    View,
    ViewChanged,
    __version__,
    select,
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
    RemoteError,
    TimeoutError,
    TooLargeError,
    UnreachableError,
)
from ._log import forward_logs
from ._streams import ByteStream

__all__ = [
    "AddressError",
    "Answer",
    "BindError",
    "Branch",
    "BusyError",
    "ByteStream",
    "CancelledError",
    "CasmError",
    "Change",
    "Channel",
    "ClockDiffers",
    "ClosedError",
    "Config",
    "ConfigError",
    "Connected",
    "Direct",
    "Disconnected",
    "Dropped",
    "Event",
    "Found",
    "InternalError",
    "InvalidError",
    "IoError",
    "Job",
    "Key",
    "KeyShared",
    "Lease",
    "Listening",
    "Message",
    "Node",
    "NotFoundError",
    "PausedError",
    "PeerInfo",
    "PeerJoined",
    "PeerLeft",
    "PeerReply",
    "PeerUpdated",
    "PeersFound",
    "PeerStatus",
    "ProtocolError",
    "Query",
    "Reachability",
    "ReachabilityChanged",
    "ReachableAddr",
    "Record",
    "Records",
    "Relayed",
    "RemoteError",
    "RemoteView",
    "Request",
    "Secret",
    "Semaphore",
    "ServiceStats",
    "Serving",
    "Stream",
    "Subscription",
    "TimeoutError",
    "TooLargeError",
    "Topic",
    "UnreachableError",
    "View",
    "ViewChanged",
    "__version__",
    "aio",
    "forward_logs",
    "select",
]

# As `typing` has it, which takes long to import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import aio
    from ._answer import Answer
    from ._service import Serving
else:

    def __getattr__(name: str) -> object:
        # asyncio takes long to import, and not every program needs it.
        if name == "aio":
            import importlib

            return importlib.import_module("casm.aio")
        if name == "Serving":
            from ._service import Serving

            return Serving
        if name == "Answer":
            from ._answer import Answer

            return Answer
        raise AttributeError(f"module 'casm' has no attribute {name!r}")
