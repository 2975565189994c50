"""What the service says while it runs. Texts of other libraries are withheld: they may quote a name out of a header."""

from __future__ import annotations

import logging
import sys
import traceback
from types import TracebackType
from typing import Any

OURS = ("diaphane", "models", "uvicorn", "bentoml")


class Discreet(logging.Formatter):
    """Write time, level and message of our own loggers; of others only who spoke. Exceptions lose their text."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line."""
        if record.name.split(".")[0] not in OURS:
            record = logging.makeLogRecord({**record.__dict__, "args": None, "msg": f"{record.name} (text withheld)"})
        return super().format(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802  the name is the library's
        """Give class and place only. ``ei`` is what sys.exc_info() gives."""
        return where(ei[1], ei[2]) if ei[1] else ""


def where(error: BaseException, trace: TracebackType | None = None) -> str:
    """Say class and place of an exception, not its text, which may quote what was sent."""
    frames = traceback.extract_tb(trace or error.__traceback__)[-6:]
    places = (f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    return f"{type(error).__name__} at {' < '.join(places)}"


def set_up(level: str) -> None:
    """Send everything to stderr, discreetly. Python warnings of libraries come the same way."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Discreet("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in ("diaphane", "models"):
        logging.getLogger(name).setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "bentoml", "bentoml.serve"):
        speaker = logging.getLogger(name)
        speaker.handlers.clear()
        speaker.propagate = True
        speaker.setLevel(logging.WARNING)
