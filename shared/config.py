"""Settings: each step declares a frozen dataclass of what it needs; a field `smtp_host` is read from SMTP_HOST.

What is missing or malformed stops the process at start with the variables' names. Values never come from anywhere else.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar, get_type_hints

from shared.errors import ConfigError

T = TypeVar("T")
S = TypeVar("S", bound=str)


@dataclass(frozen=True, kw_only=True)
class Base:
    """What every step needs. `stack`: which adapters ("embedded"); `state_dir`: the embedded stack's folder."""

    stack: str
    tenant: str
    public_url: str
    state_dir: str = ""
    trusted_hops: int = 0

    def __post_init__(self) -> None:
        if self.stack == "embedded" and not self.state_dir:
            raise ConfigError("STATE_DIR must be set when STACK=embedded")
        if self.public_url.endswith("/"):
            raise ConfigError("PUBLIC_URL must not end with a slash")
        if self.trusted_hops < 0:
            raise ConfigError("TRUSTED_HOPS must not be negative")


@dataclass(frozen=True, kw_only=True)
class Pushed(Base):
    """A step that Pub/Sub or Scheduler calls. `push_auth`: "iam" (on Google) or "oidc" (signature checked here).

    There is no default and no "off". `push_certs` is the URL of the issuer's certificates ({kid: PEM}), for "oidc" only.
    """

    push_auth: str
    push_audience: str
    push_issuer: str
    push_email: str
    push_certs: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.push_auth not in ("iam", "oidc"):
            raise ConfigError("PUSH_AUTH must be iam or oidc")
        if self.push_auth == "oidc" and not self.push_certs:
            raise ConfigError("PUSH_CERTS must be set when PUSH_AUTH=oidc")


def load(cls: type[T], environ: Mapping[str, str] | None = None) -> T:
    """An instance of the dataclass `cls` from the environment; raises ConfigError naming every bad variable."""
    environ = os.environ if environ is None else environ
    hints = get_type_hints(cls)
    values: dict[str, object] = {}
    problems: list[str] = []
    for item in dataclasses.fields(cls):  # type: ignore[arg-type]
        name = item.name.upper()
        text = environ.get(name, "")
        if not text:
            if item.default is dataclasses.MISSING:
                problems.append(f"{name} is not set")
            continue
        try:
            values[item.name] = int(text) if hints[item.name] is int else text
        except ValueError:
            problems.append(f"{name} must be a whole number")
    if problems:
        raise ConfigError("; ".join(problems))
    return cls(**values)


def one_of(text: str, *allowed: S) -> S:
    """`text` when it is one of the words allowed; raises ConfigError."""
    for word in allowed:
        if text == word:
            return word
    raise ConfigError(f"{text!r} must be one of {', '.join(allowed)}")
