"""DKIM, for those who hand mail to a server that does not sign it."""

from __future__ import annotations

from shared.errors import ConfigError
from shared.mail.compile import Sign
from shared.ports import Secrets
from shared.stack.secrets import newest

SECRET = "dkim-key"


async def signer(domain: str, selector: str, secrets: Secrets) -> Sign | None:
    """What signs a mail as `domain`, None when both are "". The key, in PEM form, is the secret `dkim-key`; its public half stands in
    the DNS under `{selector}._domainkey.{domain}`. Raises ConfigError, Unavailable."""
    if not domain and not selector:
        return None
    if not domain or not selector:
        raise ConfigError("DKIM_DOMAIN and DKIM_SELECTOR belong together: set both or none")
    from shared.mail.dkim import Dkim  # cryptography: 60 ms, for those only who need it

    return Dkim(domain, selector, await newest(secrets, SECRET)).sign
