"""The log: one line an event on standard error, every line redacted as a whole before it is written."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

QUIET = {
    **dict.fromkeys(
        ("slack_sdk", "asyncssh", "botocore", "aiobotocore", "aiomysql", "httpx", "aiohttp", "asyncio"), logging.WARNING
    ),
    "slack_bolt": logging.ERROR,  # it warns at every start that our own `authorize` is used
}


class _MaskedFormatter(structlog.stdlib.ProcessorFormatter):
    """Renders a record and masks the whole line, tracebacks of other libraries included."""

    def __init__(self, mask: Callable[[str], str], **how: Any) -> None:
        super().__init__(**how)
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        return self._mask(super().format(record))


def open_log(*, as_json: bool, mask: Callable[[str], str], level: int = logging.INFO) -> None:
    """Send structlog's and the libraries' own records to standard error. *mask* takes secrets out of a line."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    formatter = _MaskedFormatter(
        mask,
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_json) if as_json else _for_people,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(max(level, least))
    sys.excepthook = _died


def keep_variables_out() -> None:
    """Until `open_log`: plain lines on standard error, where structlog's own default shows every variable of a traceback."""
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.stdlib.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                _for_people,
            ],
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
            cache_logger_on_first_use=False,
        )


def _json(value: object, **how: Any) -> str:
    # The mask knows secrets in this form of JSON; it would not know them in \u escapes or as Python's repr.
    return json.dumps(value, ensure_ascii=False, **{"default": str, **how})


def _for_people(_logger: object, _name: str, event: EventDict) -> str:
    line = f"{event.pop('timestamp')} {event.pop('level'):8} {event.pop('event')}"
    trace = event.pop("exception", "")
    return " ".join([line, *(f"{key}={_json(value)}" for key, value in event.items())]) + (trace and f"\n{trace}")


def _died(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An error that nobody caught takes the same way to standard error."""
    logging.getLogger("capturebot").critical("died", exc_info=(kind, error, trace))
