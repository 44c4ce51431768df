"""What all the pages of this step stand on: its dependencies, whose link it is, and how a page is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from shared.errors import BadInput, BadToken
from shared.http import Request, Response
from shared.links import Links
from shared.logs import metric
from shared.model import consent
from shared.model.paths import Paths
from shared.model.ref import MailRef
from shared.pages import Pages
from shared.pages.faces import Faces
from shared.ports import Bus, Clock, Secrets, Store

PAGES: Final = Pages(Path(__file__).parent / "pages")
LONGEST: Final = 300  # characters of a link's last part that a page repeats


@dataclass(frozen=True)
class Desk:
    """The step's dependencies. `secrets` holds the pepper, which makes subscriber ids; `base` is the public URL."""

    store: Store
    bus: Bus
    clock: Clock
    links: Links
    paths: Paths
    faces: Faces
    secrets: Secrets
    base: str

    def mail_of(self, request: Request, token: str) -> MailRef | None:
        """The mail that a link was in; None for one that is not ours, told to the operator when something should have been done: links of
        test mails are none of ours, and scanners follow those too. Raises Unavailable."""
        try:
            return self.links.read_leave(token)
        except BadToken:
            if request.method == "POST":
                metric("an unsubscribe link that is not ours", {"dead_tokens": 1}, "WARNING", kind="leave")
            return None

    def url(self, part: str, token: str) -> str:
        """Of another page of this step for the same mail. The token may be anybody's words."""
        return f"{self.base}/unsubscribe/{part}{'/' * bool(part)}{quote(token[:LONGEST], safe='~')}"

    def evidence(
        self, request: Request, kind: str, text: str, page: str, language: str, campaign: str, at: int
    ) -> dict[str, Any]:
        """What was agreed to on one of these pages, reached by a mail of the campaign: see `consent.evidence`."""
        place, source, agent = f"{self.base}/unsubscribe/{page}", f"mail of {campaign}", request.headers.get("user-agent", "")
        return consent.evidence(kind, text, place, language, source, request.client, agent, at)

    async def draw(
        self, request: Request, template: str, status: int = 200, *, name: str, reader: str = "", **values: Any
    ) -> Response:
        """See `Pages.draw`. Raises Unavailable."""
        return PAGES.draw(await self.faces.get(), request, template, status, name=name, reader=reader, **values)

    async def dead(self, request: Request) -> Response:
        """For a link that is not ours, and for one of somebody whom we do not know (any more)."""
        return await self.draw(
            request, "dead.html", 404, name="dead", access=f"{self.base}/unsubscribe", again=f"{self.base}/subscribe"
        )


def fields_of(request: Request) -> dict[str, str]:
    """What was posted; nothing where that cannot be read."""
    try:
        return request.form()
    except BadInput:
        return {}
