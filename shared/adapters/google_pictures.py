"""Pictures of Google Docs, from the addresses that an export gives them: for a while, and to anybody.

A template may name any such address, so none but Google's servers for what people have uploaded is ever asked, nor followed elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlsplit

import urllib3

from shared.errors import BadInput, Unavailable

HOSTS = ".googleusercontent.com"
LONGEST = 15.0  # seconds for one picture
_GONE = "A picture cannot be fetched from Google: put it into the Doc once more, or into the folder “assets”."


class GooglePictures:
    """`most`: bytes of a picture that are read; one more tells that there are more."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=3.05, read=5.0))

    async def fetch(self, address: str) -> bytes:
        """The bytes, `most` + 1 of them at most. Raises BadInput when there is no such picture, Unavailable."""
        if not _theirs(address):
            raise BadInput(_GONE)
        return await asyncio.to_thread(self._fetch, address)

    def _fetch(self, address: str) -> bytes:
        end, data = time.monotonic() + LONGEST, b""
        try:
            answer = self._pool.request("GET", address, redirect=False, preload_content=False, decode_content=False)
            try:
                if answer.status >= 500 or answer.status == 429:
                    raise Unavailable("Google's pictures", str(answer.status))
                if answer.status != 200:
                    raise BadInput(_GONE)
                while piece := answer.read1(64 << 10):  # what came, not what is waited for
                    data += piece
                    if len(data) > self._most:
                        break
                    if time.monotonic() > end:
                        raise Unavailable("Google's pictures", "too slow")
            finally:
                answer.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable("Google's pictures", type(error).__name__) from None
        return data[: self._most + 1]


def _theirs(address: str) -> bool:
    """Whether it leads to a server of Google's for uploads. Those of their customers' machines end alike: bc.googleusercontent.com."""
    try:
        place = urlsplit(address)
        host, port = place.hostname or "", place.port
    except ValueError:
        return False
    theirs = host.isascii() and host.endswith(HOSTS) and not host.endswith(f".bc{HOSTS}")
    return place.scheme == "https" and theirs and "@" not in place.netloc and port in (None, 443)
