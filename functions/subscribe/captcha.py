"""CAPTCHAs of three providers, for tenants who want one: what the form shows, and the provider's word on what came back.

A CAPTCHA needs JavaScript and asks somebody else's server, so there is none unless the Settings name one. When its provider does not
answer, or does not take our secret, the sign-up passes and a metric says so: the limits on confirmations still protect, nobody is lost.

    https://developers.cloudflare.com/turnstile/get-started/server-side-validation/
    https://docs.hcaptcha.com/
    https://developers.google.com/recaptcha/docs/verify · …/docs/v3
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from markupsafe import Markup

from shared.errors import PipelineError
from shared.logs import metric
from shared.ports import Secrets
from shared.stack.secrets import newest

if TYPE_CHECKING:
    from shared.providers.api_http import Http

SECRET: Final = "captcha-secret"
ACTION: Final = "sign_up"  # reCAPTCHA takes letters, digits, "/" and "_"
SCORE: Final = 0.5  # of reCAPTCHA v3, from which a visitor counts as a person: its default
TIMEOUT: Final = 3.0  # seconds for the provider's answer
MAX_TOKEN: Final = 8192  # characters; Turnstile's have 2048 at most, reCAPTCHA's have no limit that is told
MAX_ANSWER: Final = 64_000  # bytes

_OURS: Final = frozenset(("missing-input-secret", "invalid-input-secret"))  # nothing that a visitor could bring about
_THEIRS: Final = frozenset(("internal-error",))
_UNTOLD: Final = frozenset(("", "not-provided"))  # hostnames, of hCaptcha

# reCAPTCHA v3 shows nothing and wants to be asked at the moment of sending. Where its script did not come, the form goes without a token.
_ASKING: Final = (
    'document.addEventListener("submit",function(e){var f=e.target,i=f.querySelector("input[name=g-recaptcha-response]");'
    "if(!i||i.value||!window.grecaptcha)return;e.preventDefault();grecaptcha.ready(function(){"
    "grecaptcha.execute(i.dataset.sitekey,{action:i.dataset.action}).then(function(t){i.value=t;"
    "HTMLFormElement.prototype.submit.call(f)})})})"
)
_ASKING_HASH: Final = base64.b64encode(hashlib.sha256(_ASKING.encode()).digest()).decode()


@dataclass(frozen=True, slots=True)
class _Kind:
    """`field`: of the form, where the provider's script puts its token; `html`: with {key} and {action}, escaped when filled in; `guests`:
    see `shared.http.html`; `site_key`: whether the provider compares the key; `action`, `score`: whether its answer tells them."""

    url: str
    field: str
    html: str
    guests: Mapping[str, str]
    site_key: bool = False
    action: bool = False
    score: bool = False


_HCAPTCHA = "https://hcaptcha.com https://*.hcaptcha.com"
_GOOGLE = "https://www.google.com/recaptcha/"
_GOOGLE_FRAMES = {"frame-src": f"{_GOOGLE} https://recaptcha.google.com/recaptcha/", "connect-src": _GOOGLE}
_GOOGLE_SCRIPTS = f"{_GOOGLE} https://www.gstatic.com/recaptcha/"

KINDS: Final[Mapping[str, _Kind]] = {
    "turnstile": _Kind(
        "https://challenges.cloudflare.com/turnstile/v0/siteverify",
        "cf-turnstile-response",
        '<div class="cf-turnstile" data-sitekey="{key}" data-action="{action}"></div>'
        '<script src="https://challenges.cloudflare.com/turnstile/v0/api.js" async defer></script>',
        dict.fromkeys(("script-src", "frame-src", "connect-src"), "https://challenges.cloudflare.com"),
        action=True,
    ),
    "hcaptcha": _Kind(
        "https://api.hcaptcha.com/siteverify",
        "h-captcha-response",
        '<div class="h-captcha" data-sitekey="{key}"></div><script src="https://js.hcaptcha.com/1/api.js" async defer></script>',
        dict.fromkeys(("script-src", "frame-src", "style-src", "connect-src"), _HCAPTCHA),
        site_key=True,
    ),
    "recaptcha": _Kind(
        "https://www.google.com/recaptcha/api/siteverify",
        "g-recaptcha-response",
        '<div class="g-recaptcha" data-sitekey="{key}"></div>'
        '<script src="https://www.google.com/recaptcha/api.js" async defer></script>',
        {"script-src": _GOOGLE_SCRIPTS, **_GOOGLE_FRAMES},
    ),
    "recaptcha-v3": _Kind(
        "https://www.google.com/recaptcha/api/siteverify",
        "g-recaptcha-response",
        '<input type="hidden" name="g-recaptcha-response" data-sitekey="{key}" data-action="{action}">'
        '<script src="https://www.google.com/recaptcha/api.js?render={key}" async defer></script>'
        "<script>" + _ASKING.replace("{", "{{").replace("}", "}}") + "</script>",
        {"script-src": f"'sha256-{_ASKING_HASH}' {_GOOGLE_SCRIPTS}", **_GOOGLE_FRAMES},
        action=True,
        score=True,
    ),
}


@dataclass
class Captcha:
    """One tenant's CAPTCHA. `kind`: of KINDS, any other counts as none; `key`: the public site key; `hosts`: where the form may have been
    shown. `url`: in place of the provider's, for tests."""

    kind: str
    key: str
    secrets: Secrets
    hosts: Collection[str]
    http: Http | None = None
    url: str = ""
    _known: _Kind | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._known = KINDS.get(self.kind) if self.key else None

    def __bool__(self) -> bool:
        """Whether there is one."""
        return self._known is not None

    @property
    def field(self) -> str:
        """The form field that holds the token, "" without a CAPTCHA."""
        return self._known.field if self._known else ""

    @property
    def widget(self) -> Markup:
        """For inside the form, where a `<noscript>` beside it says that JavaScript is needed; empty without a CAPTCHA."""
        if self._known is None:
            return Markup()
        return Markup(self._known.html).format(key=self.key, action=ACTION)  # noqa: S704 (a constant; the key is escaped)

    @property
    def guests(self) -> Mapping[str, str]:
        """What a page with the widget must allow: see `shared.http.html`."""
        return self._known.guests if self._known else {}

    async def passed(self, token: str, client: str) -> bool:
        """Whether the provider takes the visitor for a person. `client`: their IP address, "" when it is not known.

        False for no token, a wrong, used or old one, one of another site or another form. True without asking when there is no CAPTCHA.
        Never raises.
        """
        if self._known is None:
            return True
        if not token or len(token) > MAX_TOKEN:
            return False
        try:
            answer = await self._answer(self._known, token, client)
        except PipelineError:
            return self._unchecked("secret")
        if answer is None:
            return self._unchecked("down")
        codes = answer.get("error-codes")
        told = {str(code) for code in codes} if isinstance(codes, list) else set()
        if not answer["success"] and told & _OURS:
            return self._unchecked("secret")
        if not answer["success"] and told & _THEIRS:
            return self._unchecked("down")
        return answer["success"] and self._ours(self._known, answer)

    def _ours(self, kind: _Kind, answer: Mapping[str, Any]) -> bool:
        """Whether a good token was had from our form."""
        host = answer.get("hostname", "")
        if host not in self.hosts and not (kind.site_key and host in _UNTOLD):
            return False
        if kind.action and answer.get("action") != ACTION:
            return False
        score = answer.get("score", 0)
        return not kind.score or (isinstance(score, int | float) and score >= SCORE)

    async def _answer(self, kind: _Kind, token: str, client: str) -> dict[str, Any] | None:
        """What the provider says, None when it says nothing that could be understood; raises as `Secrets.get`."""
        from shared.providers.api import Call, Lost
        from shared.providers.api_http import Http  # aiohttp: only where there is a CAPTCHA

        form = {"secret": await newest(self.secrets, SECRET), "response": token}
        if client:
            form["remoteip"] = client
        if kind.site_key:
            form["sitekey"] = self.key
        self.http = self.http or Http(TIMEOUT, most=MAX_ANSWER)
        body = urlencode(form, errors="replace").encode()
        try:
            answer = await self.http.exchange(
                Call("POST", self.url or kind.url, {"Content-Type": "application/x-www-form-urlencoded"}, body)
            )
        except Lost:
            return None
        found = answer.json if answer.status < 500 and answer.status != 429 else None
        return found if isinstance(found, dict) and isinstance(found.get("success"), bool) else None

    def _unchecked(self, why: str) -> bool:
        metric("a sign-up that its CAPTCHA could not judge", {"captchas_unchecked": 1}, "ERROR", kind=why)
        return True
