"""What the steps that let mail go know of the ways out, from the environment."""

from __future__ import annotations

from dataclasses import dataclass

from shared import config
from shared.model.provider import parse


@dataclass(frozen=True, kw_only=True)
class Mailing(config.Pushed):
    """`providers`: shared/model/provider.py. `bounce_domain`: of return paths that tell whose mail bounced, "" for none. `dkim_…`: under
    which name mail that leaves by SMTP is signed, both "" for not at all."""

    providers: str
    bounce_domain: str = ""
    dkim_domain: str = ""
    dkim_selector: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        parse(self.providers)  # a deployment with a wrong one must not start
