"""Every error the steps raise on purpose, so that an entry point can map each to one answer.

PipelineError
├── ConfigError      a setting is missing or wrong: on Cloud Run the process does not start
├── BadInput         somebody typed, uploaded or sent something unusable; `str(e)` is the sentence they read
│   └── BadTemplate  the same for a template: blocks its own campaign only
├── BadToken         a link, form or message token whose proof does not hold
├── Unauthenticated  a push, tick or webhook without a valid proof of its sender
├── Conflict         a write's precondition did not hold (or its own reply was lost: read back)
├── NotFound         the named file, object or document is not there
├── Denied           a service refuses us: a wrong password, an account that is suspended; somebody has to mend it
└── Unavailable      a service did not answer, or said "later"; trying again is right
"""

from __future__ import annotations

from typing import Literal


class PipelineError(Exception):
    """Base of all errors raised on purpose."""


class ConfigError(PipelineError):
    """One or more settings are missing or malformed; the message names the environment variables."""


class BadInput(PipelineError):
    """Unusable input. The message is one plain sentence for its author, free of addresses and stack traces."""

    def __init__(self, sentence: str, field: str = "") -> None:
        super().__init__(sentence)
        self.field = field


class BadTemplate(BadInput):
    """A template that cannot be compiled or rendered."""


class BadToken(PipelineError):
    """A token that was not signed by us for this purpose, or has expired."""


class Unauthenticated(PipelineError):
    """The caller could not prove who it is. `status` is 401 (no valid proof) or 403 (proof of somebody else)."""

    def __init__(self, reason: str, status: Literal[401, 403] = 401) -> None:
        super().__init__(reason)
        self.status: Literal[401, 403] = status


class Conflict(PipelineError):
    """A precondition failed on `path`: the document exists, or it is gone or has another version than the one given."""

    def __init__(self, path: str, why: Literal["exists", "version"]) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.why: Literal["exists", "version"] = why


class NotFound(PipelineError):
    """What was asked for does not exist."""


class Denied(PipelineError):
    """A service knows us and refuses us. The message is its code, never free text."""


class Unavailable(PipelineError):
    """A dependency failed in a way that may pass. `retry_after` is in seconds, 0 when the service named none."""

    def __init__(self, service: str, detail: str = "", retry_after: float = 0.0) -> None:
        super().__init__(f"{service} is unavailable{': ' + detail if detail else ''}")
        self.service = service
        self.retry_after = retry_after
