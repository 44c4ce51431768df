"""The mailbox in a browser. What a mail contains is hostile: its HTML is only ever answered under a policy that sandboxes it
(no script, no form, an origin of its own, images from this machine only) and shown in a sandboxed frame.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from local.google.rest import same_origin
from local.mailbox import Mail, Mailbox, bodies
from local.returned import HOWS, Returns
from local.web import page

PAGE = 30
VIEWS = ("html", "text", "headers", "source")
MOST = 500  # mails in one JSON answer
_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src 'self' data: http://127.0.0.1:*; "
    "style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'self'"
)
_HEAD = re.compile(r"<head(?:\s[^>]*)?>", re.IGNORECASE)
_BASE = '<base target="_blank">'


def mailbox_routes(mailbox: Mailbox, returns: Returns) -> list[Route]:
    """GET /mailbox, /mailbox.json, /mailbox/{id} and /mailbox/{id}/html; POST /mailbox/{id}/return: `how`, of HOWS, a mail comes back."""

    async def index(request: Request) -> Response:
        query, after = request.query_params.get("q", "").strip(), _number(request, "after", 0)
        mails = await mailbox.list(PAGE + 1, after, query)
        older = urlencode({"q": query, "after": mails[PAGE - 1].id}) if len(mails) > PAGE else ""
        rows = [(mail, _when(mail)) for mail in mails[:PAGE]]
        total = await mailbox.count()
        return page("mailbox.html", here="/mailbox", rows=rows, query=query, after=after, older=older, total=total)

    async def one(request: Request) -> Response:
        mail = await mailbox.get(request.path_params["id"])
        if mail is None:
            return _absent(request)
        text, rich = bodies(mail.source)
        shown = {"text": text, "headers": _text(mail.source.partition(b"\r\n\r\n")[0]), "source": _text(mail.source)}
        view = request.query_params.get("view", "html" if rich else "text")
        view = view if view in VIEWS else "text"
        shape = {"views": VIEWS, "view": view, "rich": bool(rich), "content": shown.get(view, "")}
        shape["hows"] = {how: label for how, (label, _) in HOWS.items()}
        return page("mail.html", here="/mailbox", mail=mail, when=_when(mail), shape=shape)

    async def rich(request: Request) -> Response:
        mail = await mailbox.get(request.path_params["id"])
        if mail is None:
            return _absent(request)
        headers = {"content-security-policy": _POLICY, "referrer-policy": "no-referrer", "x-content-type-options": "nosniff"}
        return HTMLResponse(_with_base(bodies(mail.source)[1]), headers={**headers, "cache-control": "no-store"})

    async def give_back(request: Request) -> Response:
        if not same_origin(request):
            return JSONResponse({"error": "This page may only be used from the twin itself."}, 403)
        mail = await mailbox.get(request.path_params["id"])
        how = dict(parse_qsl((await request.body()).decode("utf-8", "replace"))).get("how", "")
        if mail is None or how not in HOWS:
            return _absent(request)
        status = await returns.send(mail, how)
        if not 200 <= status < 300:
            return HTMLResponse(f"<!doctype html><title>Refused</title><p>The webhook answered {status}.", 502)
        return RedirectResponse(f"/mailbox/{mail.id}", 303)

    async def listing(request: Request) -> Response:
        limit = min(_number(request, "limit", 50), MOST)
        rcpt = request.query_params.get("rcpt", "")
        mails = await mailbox.find(rcpt, limit) if rcpt else await mailbox.list(limit, _number(request, "after", 0))
        return JSONResponse({"count": await mailbox.count(), "mails": [_json(mail) for mail in mails]})

    return [
        Route("/mailbox", index),
        Route("/mailbox.json", listing),
        Route("/mailbox/{id:int}", one),
        Route("/mailbox/{id:int}/html", rich),
        Route("/mailbox/{id:int}/return", give_back, methods=["POST"]),
    ]


def _json(mail: Mail) -> dict[str, object]:
    """Without text and html in a list over all recipients, where no source was read."""
    found = {name: getattr(mail, name) for name in ("id", "received_at", "mail_from", "rcpt", "message_id", "subject")}
    if mail.source:
        found["text"], found["html"] = bodies(mail.source)
    return found


def _with_base(rich: str) -> str:
    """The mail's HTML with its links opening in a new tab; what it sets itself cannot leave the sandbox."""
    if _HEAD.search(rich):
        return _HEAD.sub(lambda found: found[0] + _BASE, rich, count=1)
    return f"<!doctype html><head>{_BASE}</head>{rich}"


def _absent(request: Request) -> Response:
    number = request.path_params["id"]
    return HTMLResponse(
        f'<!doctype html><title>Not found</title><p>There is no mail {number}. <a href="/mailbox">Mailbox</a>', 404
    )


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else default


def _text(source: bytes) -> str:
    return source.decode("utf-8", "replace").replace("\r\n", "\n")


def _when(mail: Mail) -> str:
    return datetime.fromtimestamp(mail.received_at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
