"""The few things that have to be asked for while a callback waits."""

from __future__ import annotations

from urllib.parse import urlsplit

from shared.errors import NotFound, Unavailable
from shared.providers.api import Call, Lost

TIMEOUT, CONNECT = 5.0, 3.0  # seconds; providers wait 10 or more for an answer
_LATER = {408, 425, 429}


class Https:
    """A `Fetch`; the client is imported with the first call."""

    def __init__(self, scheme: str = "https") -> None:
        """`scheme`: another one for tests."""
        self._scheme = scheme

    async def __call__(self, url: str) -> bytes:
        """See `Fetch`."""
        from shared.providers.api_http import Http  # 360 ms: only whoever fetches needs it

        parts = urlsplit(url)
        if parts.scheme != self._scheme:
            raise NotFound("not an https URL")
        client = Http(TIMEOUT, CONNECT)
        try:
            answer = await client.exchange(Call("GET", url))
        except Lost as error:
            raise Unavailable(parts.hostname or "", error.code) from None
        finally:
            await client.close()
        if answer.status >= 500 or answer.status in _LATER:
            raise Unavailable(parts.hostname or "", str(answer.status))
        if answer.status != 200 or not answer.body:
            raise NotFound(f"{parts.hostname}: {answer.status}")
        return answer.body
