"""Settings: each step declares a frozen dataclass of what it needs; a field `smtp_host` is read from SMTP_HOST.

Values never come from anywhere else. Where a variable is missing or malformed, a process on Cloud Run ends at start and names it
(`at_start`); elsewhere, where main.py may be imported before the variables are set, the first request fails.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar, get_type_hints

from shared.errors import ConfigError

T = TypeVar("T")
S = TypeVar("S", bound=str)


@dataclass(frozen=True, kw_only=True)
class Base:
    """What every step needs. `stack`: which adapters, "embedded" or "google"; `state_dir`: the embedded stack's folder.

    On Google: the project, the Firestore database, the bucket for Objects. An emulator's host ("127.0.0.1:8080") takes the place of
    its service, without credentials. `geo_database`: a city or country database (.mmdb) in place of the bundled countries.
    """

    stack: str
    tenant: str
    public_url: str
    state_dir: str = ""
    trusted_hops: int = 0
    google_cloud_project: str = ""
    firestore_database: str = "(default)"
    bucket: str = ""
    firestore_emulator_host: str = ""
    pubsub_emulator_host: str = ""
    storage_emulator_host: str = ""
    secret_manager_emulator_host: str = ""
    geo_database: str = ""

    def __post_init__(self) -> None:
        one_of("STACK", self.stack, "embedded", "google")
        if self.stack == "embedded" and not self.state_dir:
            raise ConfigError("STATE_DIR must be set when STACK=embedded")
        if self.stack == "google" and not self.google_cloud_project:
            raise ConfigError("GOOGLE_CLOUD_PROJECT must be set when STACK=google")
        if self.public_url.endswith("/"):
            raise ConfigError("PUBLIC_URL must not end with a slash")
        if self.trusted_hops < 0:
            raise ConfigError("TRUSTED_HOPS must not be negative")


@dataclass(frozen=True, kw_only=True)
class Pushed(Base):
    """A step that Pub/Sub or Scheduler calls. `push_auth`: "iam" (on Google) or "oidc" (signature checked here).

    There is no default and no "off". `push_certs` is the URL of the issuer's certificates ({kid: PEM}), for "oidc" only.
    `k_service` is set by Cloud Run itself (https://cloud.google.com/run/docs/container-contract).
    """

    push_auth: str
    push_audience: str
    push_issuer: str
    push_email: str
    push_certs: str = ""
    k_service: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("PUSH_AUTH", self.push_auth, "iam", "oidc")
        if self.push_auth == "oidc" and not self.push_certs:
            raise ConfigError("PUSH_CERTS must be set when PUSH_AUTH=oidc")
        if self.push_auth == "iam" and not self.k_service:
            raise ConfigError(
                "PUSH_AUTH=iam trusts the platform's check of each caller, and without K_SERVICE this is not Cloud Run"
            )


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
        hint = hints[item.name]
        try:
            values[item.name] = int(text) if hint is int else text
        except ValueError:
            problems.append(f"{name} must be a whole number")
    if problems:
        raise ConfigError("; ".join(problems))
    return cls(**values)


def at_start(settings: Callable[[], object]) -> None:
    """Read the settings now, on Cloud Run: a revision without them must not start, and its process ends with their names.

    Cloud Run's own timeout is enough: the framework would hand its variable to gunicorn, whose arbiter kills a worker that gave no
    sign of life for so long, and an idle instance gives none, since it has no CPU (https://cloud.google.com/run/docs/configuring/cpu-allocation).
    """
    if os.environ.get("K_SERVICE"):
        os.environ.pop("CLOUD_RUN_TIMEOUT_SECONDS", None)
        settings()


def one_of(variable: str, text: str, *allowed: S) -> S:
    """`text` when it is one of the words allowed for an environment variable; raises ConfigError."""
    for word in allowed:
        if text == word:
            return word
    raise ConfigError(f"{variable} must be {' or '.join(allowed)}, not {text!r}")
