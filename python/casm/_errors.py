"""The exceptions. Each has the kind that the error has in every language, and
derives from Python's own exception for its like where there is one."""

import builtins


class CasmError(Exception):
    """An error of CASM. Its message says what was wrong, and what to do."""

    kind = "Internal"

    @property
    def message(self) -> str:
        """What was wrong, the value, and what to do."""
        return str(self.args[0]) if self.args else ""


class ConfigError(CasmError, ValueError):
    """A configuration value is not acceptable."""

    kind = "Config"


class AddressError(CasmError, ValueError):
    """An address cannot be parsed, or is of a kind that is not supported."""

    kind = "Address"


class BindError(CasmError, OSError):
    """A socket could not be bound."""

    kind = "Bind"


class ClosedError(CasmError):
    """The node, or the thing that was used, is closed."""

    kind = "Closed"


class TimeoutError(CasmError, builtins.TimeoutError):
    """It did not happen in the time given."""

    kind = "Timeout"


class CancelledError(CasmError):
    """The caller, or a close, called it off."""

    kind = "Cancelled"


class NotFoundError(CasmError, LookupError):
    """What was asked for does not exist."""

    kind = "NotFound"


class UnreachableError(CasmError, ConnectionError):
    """The peer could not be reached."""

    kind = "Unreachable"


class ProtocolError(CasmError):
    """The other side does not speak the protocol, or broke its rules."""

    kind = "Protocol"


class InvalidError(CasmError, ValueError):
    """The bytes or the argument are malformed."""

    kind = "Invalid"


class TooLargeError(CasmError, ValueError):
    """It exceeds a limit on size or number."""

    kind = "TooLarge"


class BusyError(CasmError):
    """A limit on concurrent work or on rates is reached: try again later."""

    kind = "Busy"


class IoError(CasmError, OSError):
    """The operating system reported an error."""

    kind = "Io"


class PausedError(CasmError):
    """The node is paused: resume it first."""

    kind = "Paused"


class RemoteError(CasmError, RuntimeError):
    """The handler of a service failed, here or elsewhere: the message is its own."""

    kind = "Remote"


class InternalError(CasmError, RuntimeError):
    """A defect in CASM."""

    kind = "Internal"


KINDS = {
    cls.kind: cls
    for cls in (
        ConfigError,
        AddressError,
        BindError,
        ClosedError,
        TimeoutError,
        CancelledError,
        NotFoundError,
        UnreachableError,
        ProtocolError,
        InvalidError,
        TooLargeError,
        BusyError,
        IoError,
        PausedError,
        RemoteError,
        InternalError,
    )
}

# They are found where users find them.
for _cls in (CasmError, *KINDS.values()):
    _cls.__module__ = "casm"
