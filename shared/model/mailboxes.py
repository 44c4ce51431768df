"""The large mailbox providers: where anybody has an address, so that many strangers sign up at once.

Made by hand, the large ones of each region; whoever is missing is limited like a company's mail server.
"""

from __future__ import annotations

import re
from typing import Final

from shared.model.provider import GROUPS

# Providers that have domains of the same name in many countries.
_FAMILIES: Final = frozenset({"yahoo", "hotmail", "outlook", "live", "msn", "gmx", "yandex"})
_COUNTRIES: Final = re.compile(r"(?:com|net|[a-z]{2}|com?\.[a-z]{2})")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OTHERS: Final = _words(
    """
    aim.com web.de t-online.de freenet.de mail.com proton.me protonmail.com pm.me fastmail.com tuta.com zoho.com orange.fr wanadoo.fr
    free.fr laposte.net sfr.fr bbox.fr neuf.fr libero.it virgilio.it tiscali.it alice.it tim.it sapo.pt telefonica.net bluewin.ch
    telenet.be skynet.be ziggo.nl kpnmail.nl wp.pl o2.pl onet.pl interia.pl seznam.cz mail.ru bk.ru list.ru inbox.ru ya.ru rambler.ru
    ukr.net qq.com 163.com 126.com sina.com naver.com daum.net hanmail.net rediffmail.com uol.com.br bol.com.br terra.com.br
    comcast.net verizon.net att.net sbcglobal.net bellsouth.net cox.net charter.net shaw.ca rogers.com sympatico.ca btinternet.com
    sky.com virginmedia.com talktalk.net ntlworld.com bigpond.com optusnet.com.au xtra.co.nz docomo.ne.jp ezweb.ne.jp softbank.ne.jp
    """
)
_LARGE: Final = _OTHERS.union(*GROUPS.values())


def large(domain: str) -> bool:
    """Whether a domain (lower-case ASCII) is that of a large mailbox provider."""
    name, _, rest = domain.partition(".")
    return domain in _LARGE or (name in _FAMILIES and _COUNTRIES.fullmatch(rest) is not None)
