"""One file per provider: its sender, its error map and limits, its webhook's verifier and normaliser. `senders` and `webhooks` name them.

docs/adding-a-provider.md says how to write one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from shared.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a provider's module makes a sender of. `name`: what the operator calls this way out; `secret` returns the newest API key
    or password, is cheap, and raises as `Secrets.get`; `hello`: our host name, for SMTP's EHLO."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    secret: Callable[[], Awaitable[str]]
    hello: str = "localhost"

    def checked(self, *needed: str, **otherwise: str) -> dict[str, str]:
        """The options: those needed, and the others with what they are otherwise. Raises ConfigError with a plain sentence."""
        if unknown := sorted(set(self.options) - {*needed, *otherwise}):
            known = ", ".join(sorted({*needed, *otherwise})) or "none"
            raise ConfigError(f"PROVIDERS: {self.name}: there is no option {unknown[0]!r} (there are: {known})")
        if missing := [name for name in needed if not self.options.get(name)]:
            raise ConfigError(f"PROVIDERS: {self.name}: the option {missing[0]} is missing")
        return {**otherwise, **self.options}
