"""What a person held, from the browser's words: four classes of substrings. A list of models and makers, as libraries carry it, would
cost track its start for an answer that no report asks for.

Android tablets are those without "Mobile", and an iPad's Safari says that it is a Mac, so it counts as a desktop
(https://developer.mozilla.org/en-US/docs/Web/HTTP/Guides/Browser_detection_using_the_user_agent).
"""

from __future__ import annotations

from functools import lru_cache

from shared.http import Request
from shared.model.event import Device

from .robots import LONGEST, through_proxy

_TABLETS = ("iPad", "Tablet", "Kindle", "Silk/", "PlayBook")
_PHONES = ("iPhone", "iPod", "Mobile", "Windows Phone", "BlackBerry", "Opera Mini")
_DESKTOPS = ("Windows", "Macintosh", "X11", "CrOS", "Linux")


def device(request: Request) -> Device:
    """Of a person's hit; "" for one that came by a mail service's proxy, and for no browser's name."""
    return "" if through_proxy(request) else _of_agent(request.headers.get("user-agent", "")[:LONGEST])


@lru_cache(maxsize=1024)
def _of_agent(agent: str) -> Device:
    if not agent:
        return ""
    if any(word in agent for word in _TABLETS) or ("Android" in agent and "Mobile" not in agent):
        return "tablet"
    if any(word in agent for word in _PHONES):
        return "phone"
    return "desktop" if any(word in agent for word in _DESKTOPS) else "other"
