"""A clock that a test sets back: what the backend takes for now is so many seconds off as a file says."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

BACKEND = "netra_backend."


def set_clock(file: Path) -> None:
    """Let every module of the backend that is imported take its time from the file, in this process."""

    class Alike(type):
        """Everything but `now` is `datetime`'s own, and gives plain ones."""

        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, datetime)

        def __call__(cls, *args: Any, **kwargs: Any) -> datetime:
            return datetime(*args, **kwargs)

        def __getattr__(cls, name: str) -> Any:
            return getattr(datetime, name)

    class SetDatetime(metaclass=Alike):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) + timedelta(seconds=float(file.read_text() or 0))

    for name, module in tuple(sys.modules.items()):
        if name.startswith(BACKEND) and vars(module).get("datetime") is datetime:
            vars(module)["datetime"] = SetDatetime
