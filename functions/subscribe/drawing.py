"""The pages of a sign-up: the form, the form that asks for one more click, the one that says to look for the mail."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from markupsafe import Markup

from shared.errors import BadInput
from shared.http import Request, Response
from shared.pages import Pages, languages
from shared.pages.faces import DEFAULT, Shown

from .asked import Refused
from .captcha import Captcha

PAGES: Final = Pages(Path(__file__).parent / "pages")
EMBED: Final = "embed"
_LANGUAGE: Final = re.compile(r"[A-Za-z0-9-]{1,35}")


def form(
    shown: Shown,
    request: Request,
    base: str,
    proof: str,
    captcha: Captcha,
    fields: Mapping[str, str] | None = None,
    problem: BadInput | None = None,
) -> Response:
    """The form; with `fields` and their `problem` the one that was posted, status 400."""
    language = PAGES.language(shown, request, "sign-up")
    return PAGES.draw(
        shown,
        request,
        "form.html",
        400 if problem else 200,
        name="sign-up",
        framed=framed(request),
        guests=captcha.guests,
        action=action(request, base),
        proof=proof,
        captcha=captcha.widget,
        problem=_sentence(language, problem, (fields or {}).get("email", "")),
        wrong=problem.field if problem else "",
        fields={"email": "", "name": "", **(fields or {})},
        topics=shown.tenant.face.topics,
        consent=consent_text(shown, language),
    )


def once_more(
    shown: Shown, request: Request, base: str, proof: str, captcha: Captcha, fields: Mapping[str, str], busy: bool = False
) -> Response:
    """The same fields again, and a button: nothing was taken yet. `busy`: because too many came at once."""
    return PAGES.draw(
        shown,
        request,
        "once.html",
        429 if busy else 200,
        name="busy" if busy else "once",
        framed=framed(request),
        guests=captcha.guests,
        action=action(request, base),
        proof=proof,
        captcha=captcha.widget,
        fields=fields,
    )


def check(shown: Shown, request: Request, base: str, proof: str, suggestion: str, fields: Mapping[str, str]) -> Response:
    """What everybody sees whose sign-up was taken. `suggestion`: the address that was probably meant, "" for none."""
    return PAGES.draw(
        shown,
        request,
        "check.html",
        name="check",
        framed=framed(request),
        action=action(request, base),
        proof=proof,
        suggestion=suggestion,
        fields={**fields, "email": suggestion},
    )


def corrected(address: str, domain: str) -> str:
    """The address at the domain that was probably meant, "" for none."""
    return f"{address.rpartition('@')[0]}@{domain}" if domain else ""


def _sentence(language: str, problem: BadInput | None, address: str) -> str:
    if problem is None:
        return ""
    if not isinstance(problem, Refused):
        return PAGES.text(language, "wrong.body")
    sentence = PAGES.text(language, f"wrong.{problem.key}")
    meant = corrected(address.strip(), problem.meant)
    return f"{sentence} {PAGES.text(language, 'check.meant', address=meant)}" if meant else sentence


def consent_text(shown: Shown, language: str) -> str:
    """The words beside the button."""
    return PAGES.text(language, "consent", brand=shown.tenant.name)


def said(shown: Shown, language: str) -> str:
    """All that the form told its visitor, as text: the tenant's own words where there are such, and ours."""
    page = PAGES.page(shown, "sign-up", language)
    return "\n".join((page["title"], Markup(page["intro"]).striptags(), consent_text(shown, language)))  # noqa: S704  only stripped


def spoken(shown: Shown, request: Request) -> str:
    """The language that the page was asked for in, "" when it was shown in the tenant's for want of another."""
    offered = languages.offered([one for one in shown.pages.get("sign-up", ()) if one != DEFAULT])
    return languages.chosen(request, offered, "")


def framed(request: Request) -> bool:
    return request.path == EMBED


def action(request: Request, base: str) -> str:
    """Where a form posts: in the frame it stays, and in the language that its address asks for."""
    language = request.query.get("lang", "")
    kept = f"?lang={language}" if _LANGUAGE.fullmatch(language) else ""
    return f"{base}/subscribe{'/embed' if framed(request) else ''}{kept}"
