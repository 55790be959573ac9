"""Logs: JSON, a line for each event, in production; lines for people in a terminal. Nobody's data, and no secret.

What is logged is chosen where it is logged. Two things are seen to here, since they come from elsewhere: an exception
is told by its kind and place alone, as its own words may quote a row; and what looks like a credential or an e-mail
address is blotted out, whichever library wrote it.
"""

import json
import logging
import os
import re
import sys
import traceback
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from registry.services import correlation
from tokenhub.version import VERSION

BLOT = "[…]"
_CREDENTIAL = re.compile(
    r"thub_(?:mob|srv)_[\w-]+"  # API keys
    r"|(?<![\w-])eyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?"  # JSON Web Tokens
    r"|(?<=[Bb]earer )[^\s\"',]+"
    r"|(?<=://)[^\s/@]+(?=@)"  # the user and password of a URL
)
# One of these is in whatever the pattern finds, and they are looked for in a tenth of the time.
_IN_CREDENTIALS = ("thub_", "eyJ", "earer ", "://")
_EMAIL = re.compile(r"[\w.+-]{1,64}(?:@|%40)[\w-]+(?:\.[\w-]+)+")


def _correlation_id(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    if (correlation_id := correlation.current()) is not None:
        event["correlation_id"] = correlation_id.hex
    return event


def _exception(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """The kind of an exception, what it came of, and where: never its text."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info if isinstance(info, BaseException) else info[1] if info else None
    if error is not None:
        event["exception"] = " from ".join(_kinds(error))
        event["where"] = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    return event


def _kinds(error: BaseException) -> list[str]:
    kinds: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(kinds) < 5:
        kinds.append(type(seen).__qualname__)
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return kinds


def blot(text: str) -> str:
    """The text without what looks like a credential or an e-mail address."""
    for part in _IN_CREDENTIALS:
        if part in text:
            text = _CREDENTIAL.sub(BLOT, text)
            break
    return _EMAIL.sub(BLOT, text) if "@" in text or "%40" in text else text


def _blotted(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    return {key: blot(value) if isinstance(value, str) else value for key, value in event.items()}


class WithoutPath(logging.Filter):
    """Django tells of an error with the request's path, and paths name users and installations."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Leave the reason alone; `tokenhub.observe` tells the route."""
        if isinstance(record.args, tuple) and hasattr(record, "request") and len(record.args) == 2:
            record.msg, record.args = "%s", record.args[:1]
        return True


def for_machines() -> bool:
    """Whether lines are JSON: as TOKENHUB_LOG_FORMAT says, else wherever nobody sits at a terminal to read them."""
    chosen = os.environ.get("TOKENHUB_LOG_FORMAT", "")
    in_production = "DATABASE_URL" in os.environ or "DATABASE_URL_FILE" in os.environ
    return chosen == "json" if chosen else in_production and not sys.stderr.isatty()


_now = structlog.processors.TimeStamper(fmt="iso", utc=True)
_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    _correlation_id,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    _now,
    _exception,
    _blotted,
]


def tell(logger: logging.Logger, level: int, event: str, **fields: Any) -> None:
    """Log a line as structlog does, in a third of its time: for what is told of every request."""
    told: EventDict = {"event": event, **fields, "level": logging.getLevelName(level).lower(), "logger": logger.name}
    record = logging.LogRecord(logger.name, level, "", 0, event, None, None)
    record.told = _blotted(logger, "", _now(logger, "", _correlation_id(logger, "", told)))
    logger.handle(record)


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Makes lines of what the standard library's loggers, structlog's and `tell` are told."""

    def format(self, record: logging.LogRecord) -> str:
        """All but the last step is done already for those of `tell`."""
        told: Any = getattr(record, "told", None)
        if told is None:
            return super().format(record)
        for processor in self.processors[1:]:
            told = processor(None, "", told)
        return str(told)


def formatter() -> logging.Formatter:
    """Lines of JSON, or for people."""
    last: list[Processor]
    if for_machines():
        last = [_in_order, structlog.processors.JSONRenderer(serializer=_dumps)]
    else:
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)]
    return _Formatter(
        foreign_pre_chain=_SHARED, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    )


def _in_order(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """When, how bad and what come first, also where nobody but a person reads the JSON."""
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return {**first, **event, "version": VERSION}


def _dumps(event: Any, **kwargs: Any) -> str:
    return json.dumps(event, ensure_ascii=False, default=str)


structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *_SHARED,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)
