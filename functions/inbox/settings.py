"""What inbox needs to know, from the environment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from shared import config
from shared.errors import ConfigError

_HERE = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, kw_only=True)
class Config(config.Pushed):
    """`imap_host`: where the bounce mailbox is, "" for none, and then nothing else counts. `imap_security`: "tls" from the first byte
    (port 993), "starttls" (port 143), or "none" on this machine only. The password is the secret imap-password."""

    imap_host: str = ""
    imap_port: int = 993
    imap_user: str = ""
    imap_folder: str = "INBOX"
    imap_security: str = "tls"

    def __post_init__(self) -> None:
        super().__post_init__()
        config.one_of("IMAP_SECURITY", self.imap_security, "tls", "starttls", "none")
        if self.imap_host and not self.imap_user:
            raise ConfigError("IMAP_USER must be set when IMAP_HOST is")
        if self.imap_security == "none" and self.imap_host not in ("", *_HERE):
            raise ConfigError("IMAP_SECURITY=none is for a mailbox on this machine")
        if not re.fullmatch(r"[ -~]+", self.imap_folder + self.imap_user):
            raise ConfigError("IMAP_FOLDER and IMAP_USER must be ASCII; a folder's name in modified UTF-7 (RFC 3501 §5.1.3)")


@cache
def settings() -> Config:
    return config.load(Config)
