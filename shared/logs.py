"""One JSON object per line on standard output, as Cloud Logging reads it. Addresses never reach it: whatever looks like one is
blotted out here, whoever logged it."""

from __future__ import annotations

import json
import re
import sys
import traceback
from contextvars import ContextVar
from typing import Any, Literal

Severity = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
step: ContextVar[str] = ContextVar("step", default="")

_ADDRESS = re.compile(r"[^\s\"'<>(),;:\\]+@[^\s\"'<>(),;:\\]+\.[^\s\"'<>(),;:\\]+")


def log(severity: Severity, message: str, **fields: Any) -> None:
    """Write one entry. `fields` are ids, numbers and short words."""
    entry = {"severity": severity, "message": message, "step": step.get(), **fields}
    sys.stdout.write(redacted(json.dumps(entry, ensure_ascii=False, default=str)) + "\n")
    sys.stdout.flush()


def log_exception(message: str, error: BaseException, **fields: Any) -> None:
    """An unexpected error with its stack, in the form Error Reporting groups by."""
    stack = "".join(traceback.format_exception(error))
    log("ERROR", f"{message}\n{stack}", **fields)


def redacted(text: str) -> str:
    """`text` with everything that looks like an address replaced."""
    return _ADDRESS.sub("[address]", text) if "@" in text else text
