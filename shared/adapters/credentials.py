"""Google's default credentials, and what to say when there are none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from google.auth.exceptions import DefaultCredentialsError

from shared.errors import ConfigError


@contextmanager
def needed() -> Iterator[None]:
    """Around the making of a client: missing credentials are a ConfigError."""
    try:
        yield
    except DefaultCredentialsError:
        raise ConfigError(
            "Google credentials are missing: set GOOGLE_APPLICATION_CREDENTIALS or run as a service account"
        ) from None
