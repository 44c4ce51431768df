"""Leaving, settings, and a reader's rights. A GET shows a page and changes nothing; a POST writes before it answers.

    {leave token}              GET the page that asks · POST leaves: RFC 8058 one-click, and that page's button    leave.py
    reason/{leave token}       POST one optional reason                                                            leave.py
    preferences/{leave token}  GET shows and POST saves name, language, topics, how often, a pause                 preferences.py
    keep/{leave token}         GET asks · POST notes that the reader still agrees                                  keep.py
    export/{leave token}       GET asks · POST has a copy of the data mailed to the address on file                rights.py
    erase/{leave token}        GET asks · POST erases                                                              rights.py
    ""                         GET a form · POST has a link to the settings mailed to an address that we know      access.py

Publishes to engagement-events (consumed by record), send-requests (by send_batch) and privacy-requests (by privacy).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from shared import http
from shared.http import Request, Response
from shared.pages.forms import cross_site

from . import access, keep, leave, preferences, rights
from .desk import Desk

MAX_BODY: Final = 64 << 10  # bytes
View = Callable[[Desk, Request, str], Awaitable[Response]]

VIEWS: Final[Mapping[str, tuple[View, View]]] = {  # GET, POST
    "": (access.ask, access.send),
    "reason": (leave.ask, leave.reason),
    "preferences": (preferences.show, preferences.save),
    "keep": (keep.ask, keep.keep),
    "export": (rights.ask_export, rights.export),
    "erase": (rights.ask_erase, rights.erased),
}


@dataclass(frozen=True)
class Unsubscribe(Desk):
    """The step."""

    async def handle(self, request: Request) -> Response:
        """Route one request. Raises Unavailable (503) when what was asked for could not be stored or handed on."""
        await self.links.tokens.fresh()
        head, _, token = request.path.partition("/")
        known = VIEWS.get(head)
        get, post = known or (leave.ask, leave.leave)
        token = token if known else request.path
        match request.method:
            case "GET" | "HEAD":
                return await get(self, request, token)
            case "POST" if known and cross_site(request):  # mail programs leave for their readers from wherever they are
                return await self._foreign(request)
            case "POST":
                return await post(self, request, token)
        return http.text("This method is not understood here.", 405)

    async def _foreign(self, request: Request) -> Response:
        if request.wants_json:
            return http.json({"error": "This was sent from another site."}, 403)
        return await self.draw(request, "message.html", 403, name="foreign", again="")
