"""Log records of the native part in Python's logging."""

from . import _casm


def forward_logs(level: str = "info") -> None:
    """Hand CASM's log records to Python's loggers ``casm.…``.

    Args:
        level: ``off``, ``error``, ``warn``, ``info``, ``debug`` or ``trace``.
            Calling it again changes the level.
    """
    import logging

    def emit(number: int, name: str, message: str) -> None:
        logging.getLogger(name).log(number, "%s", message)

    _casm.forward_logs(level, emit)
