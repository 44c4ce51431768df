"""The public pages' layout: no script, no request to anybody else, readable on a phone and in the dark, in its reader's language.

What a page says beyond its form a tenant may replace by a file of the folder `pages` (functions/launch/pages.py): its title and the text
under it. All else, and these too where there is no file, comes from `texts.json`: here, and in each step's own folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from shared.http import Request, Response, html
from shared.pages import languages
from shared.pages.colours import palette
from shared.pages.faces import DEFAULT, Shown

HERE: Final = Path(__file__).parent


@dataclass(frozen=True)
class Pages:
    """The pages of one step. `folder` holds its templates, which extend base.html, and its `texts.json`: language -> {key: text}, where a
    text may hold {names}."""

    folder: Path

    def draw(
        self,
        shown: Shown,
        request: Request,
        template: str,
        status: int = 200,
        *,
        name: str,
        reader: str = "",
        framed: bool = False,
        guests: Mapping[str, str] | None = None,
        **values: Any,
    ) -> Response:
        """Render `{folder}/{template}` with `values`, each of which is escaped. `name`: of the page, whose texts are "{name}.title" and
        "{name}.intro" where no file replaces them; `reader`: the language the reader has on file; `framed`: the tenant's own sites may
        frame it; `guests`: see `shared.http.html`. Templates write `kept` behind links to our other pages, so that a language which was
        chosen by hand stays."""
        language = self.language(shown, request, name, reader)
        style = style_of(shown.tenant.face.accent)
        body = self._environment.get_template(template).render(
            style=style,
            brand=shown.tenant.name,
            logo=shown.tenant.face.logo,
            home=shown.tenant.face.home,
            language=language,
            direction=languages.direction(language),
            languages=languages.OWN if request.method in ("GET", "HEAD") else {},
            page=self.page(shown, name, language),
            framed=framed,
            kept=f"?lang={language}" if languages.suiting(request.query.get("lang", ""), (language,)) else "",
            t=lambda key, **named: self.text(language, key, **named),
            **values,
        )
        return html(body, status, style, framed_by=shown.tenant.face.signup.sites if framed else (), guests=guests or {})

    def language(self, shown: Shown, request: Request, name: str, reader: str = "") -> str:
        """The one that the page called `name` is shown in."""
        offered = languages.offered([one for one in shown.pages.get(name, ()) if one != DEFAULT])
        default = languages.suiting(shown.tenant.identity.language, offered) or "en"
        return languages.chosen(request, offered, default, reader)

    def text(self, language: str, key: str, **named: object) -> str:
        """A text of ours, in English where we do not speak the language. Plain text; raises KeyError for a key that is nowhere."""
        own = self._texts.get(languages.suiting(language, self._texts) or "en", {})
        return (own[key] if key in own else self._texts["en"][key]).format(**named)

    def page(self, shown: Shown, name: str, language: str) -> Mapping[str, str]:
        """{title, intro, language} of a page; `intro` is HTML."""
        published = shown.pages.get(name, {})
        own = languages.suiting(language, published)
        if found := published.get(own or DEFAULT):
            own_intro = Markup(found["html"])  # noqa: S704  launch has let nothing through but a short list of tags
            return {"title": found["title"], "intro": own_intro, "language": own or shown.tenant.identity.language}
        title, intro = (self.text(language, f"{name}.{part}", brand=shown.tenant.name) for part in ("title", "intro"))
        spoken = languages.suiting(language, self._texts) or "en"
        return {"title": title, "intro": Markup("<p>{}</p>").format(intro) if intro else "", "language": spoken}

    @cached_property
    def _texts(self) -> Mapping[str, Mapping[str, str]]:
        found: dict[str, dict[str, str]] = json.loads((HERE / "texts.json").read_text())
        for language, texts in json.loads((self.folder / "texts.json").read_text()).items():
            found.setdefault(language, {}).update(texts)
        return found

    @cached_property
    def _environment(self) -> Environment:
        loader = FileSystemLoader([self.folder, HERE])
        return Environment(
            loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, auto_reload=False
        )


@lru_cache(16)
def style_of(accent: str) -> str:
    """The pages' one style, in a tenant's colour."""
    light, on_light, dark, on_dark = palette(accent)
    named = {"@accent@": light, "@on-accent@": on_light, "@dark-accent@": dark, "@on-dark-accent@": on_dark}
    text = (HERE / "style.css").read_text()
    for name, colour in named.items():
        text = text.replace(name, colour)
    return text
