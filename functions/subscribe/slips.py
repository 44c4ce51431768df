"""Which mailbox provider was probably meant by a mistyped domain. Only ever shown: a domain that nobody has heard of may be somebody's."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Final


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Where slips are looked for, best known first. Names of four letters and fewer are left out (aol, gmx, live, mail, free, web): too many
# honest domains are one letter away from them.
_MEANT: Final = words(
    """
    gmail.com yahoo.com hotmail.com outlook.com icloud.com googlemail.com protonmail.com proton.me yahoo.co.uk hotmail.co.uk
    yahoo.fr hotmail.fr orange.fr wanadoo.fr laposte.net t-online.de freenet.de hotmail.de yahoo.de outlook.de outlook.fr
    outlook.es hotmail.es yahoo.es hotmail.it yahoo.it libero.it tiscali.it virgilio.it comcast.net verizon.net sbcglobal.net
    bellsouth.net earthlink.net btinternet.com virginmedia.com ntlworld.com rocketmail.com fastmail.com tutanota.com
    yandex.com yandex.ru rambler.ru telenet.be bluewin.ch seznam.cz yahoo.com.br hotmail.com.br yahoo.com.au bigpond.com
    yahoo.co.in rediffmail.com sympatico.ca yahoo.ca yahoo.co.jp
    """
)
# Honest domains beside those: providers of mail, and what is one letter away from one.
_GOOD: Final = words(
    """
    aim.com aol.com arcor.de att.net bk.ru centurylink.net charter.net cloud.com cox.net daum.net duck.com email.com email.de
    fastmail.fm free.fr frontier.com gail.com gmx.at gmx.ch gmx.com gmx.de gmx.fr gmx.net hanmail.net hey.com hushmail.com
    inbox.com inbox.ru iinet.net.au juno.com laposte.fr list.ru live.ca live.co.uk live.com live.de live.fr live.it live.nl
    lycos.com mac.com mail.com mail.de mail.ru mailbox.org me.com msn.com mweb.co.za naver.com neuf.fr numericable.fr o2.pl
    onet.pl optonline.net optusnet.com.au posteo.de posteo.net protonmail.ch pm.me qq.com rogers.com runbox.com sapo.pt sfr.fr
    shaw.ca sina.com skynet.be sky.com terra.com.br tuta.com tuta.io tutanota.de uol.com.br virgin.net voila.fr web.de
    windstream.net wp.pl xtra.co.nz yandex.by yandex.kz yandex.ua ya.ru ymail.com yahoo.at yahoo.be yahoo.cn yahoo.co.id
    yahoo.co.kr yahoo.co.nz yahoo.co.th yahoo.co.za yahoo.com.ar yahoo.com.cn yahoo.com.hk yahoo.com.mx yahoo.com.my
    yahoo.com.ph yahoo.com.sg yahoo.com.tr yahoo.com.tw yahoo.com.vn yahoo.cz yahoo.dk yahoo.gr yahoo.ie yahoo.in yahoo.jp
    yahoo.nl yahoo.no yahoo.pl yahoo.pt yahoo.ro yahoo.se 163.com 126.com zoho.com zoho.eu ziggo.nl
    """
)
_SHORT: Final = 5  # letters of a name whose first one has to be right: fmail, email, ymail and rmail are all somebody's


@lru_cache(4096)
def meant(domain: str) -> str:
    """The domain of a large mailbox provider that is one slip away (a letter too many, missing, another, or two exchanged), else ""."""
    if not domain.isascii() or len(domain) > 30:
        return ""
    labels = domain.split(".")
    known = _known()
    if any(".".join(labels[n:]) in known for n in range(len(labels))):
        return ""
    near = {target for key in (domain, *_shorter(domain)) for target in _slips().get(key, ())}
    return next((target for target in _MEANT if target in near and _slip(domain, target)), "")


@cache
def _known() -> frozenset[str]:
    return frozenset(_GOOD + _MEANT)


@cache
def _slips() -> dict[str, tuple[str, ...]]:
    """What is left of a target without one letter -> the targets: two texts that are one slip apart have such a text in common."""
    found: dict[str, tuple[str, ...]] = {}
    for target in _MEANT:
        for key in (target, *_shorter(target)):
            found[key] = (*found.get(key, ()), target)
    return found


def _shorter(text: str) -> set[str]:
    return {text[:n] + text[n + 1 :] for n in range(len(text))}


def _slip(typed: str, target: str) -> bool:
    if not one_edit(typed, target):
        return False
    (name, _, end), (right, _, ending) = typed.partition("."), target.partition(".")
    if name == right:  # where the ending differs, two letters may well be a country
        return (
            len(ending) > 2
            and ending.count(".") == end.count(".")
            and (len(end) > 2 or end in ("co", "cm", "om", "ne", "nt", "et"))
        )
    if len(right) > _SHORT:
        return True
    return name[:1] == right[:1] or (len(name) == len(right) and name[:2] == right[1::-1])


def one_edit(one: str, other: str) -> bool:
    """Whether two texts are exactly one Damerau-Levenshtein step apart."""
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    one, other = one[start:], other[start:]
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    sizes = sorted((len(one), len(other)))
    return sizes in ([0, 1], [1, 1]) or (sizes == [2, 2] and one == other[::-1])
