"""What servers say in words of a mail that failed, and what it says of the address: the text half of the table in codes.py.

Sources: the reply texts of RFC 5321 §4.2.3, the texts of Postfix, Sendmail, Exim, qmail, Exchange and Domino, and the error pages of
the large mailbox providers, named where a line is theirs. Everything is compared in lower case, with names of hosts and people removed.
"""

from __future__ import annotations

import re
from typing import Literal

Class = Literal["hard", "counts", "ignored"]

_WHO = r"(?:users?|recipients?|mail ?box(?:es)?|mail ?folder|in-?box|accounts?|address(?:es|ee)?|alias|login|username|userid)"


def either(text: str, flags: int = 0) -> re.Pattern[str]:
    """A pattern written over several lines, which are joined without their indentation. WHO stands for a person's mailbox."""
    return re.compile("".join(line.lstrip() for line in text.splitlines()).replace("WHO", _WHO), flags)


# Words that are plain whatever the code says: (class, word, phrases), in the order in which they are tried.
PLAIN: tuple[tuple[Class, str, re.Pattern[str]], ...] = (
    # Exchange Online, a recipient that is not in the directory:
    # https://learn.microsoft.com/exchange/recipients-in-exchange-online/manage-user-mailboxes/directory-based-edge-blocking
    ("hard", "unknown-mailbox", either(r"5\.4\.1\b.{0,60}recipient address rejected: access denied")),
    # Exchange's own words for "not found": https://learn.microsoft.com/exchange/mail-flow/non-delivery-reports-and-bounce-messages
    ("hard", "unknown-mailbox", either(r"resolver\.adr\.(?:ex)?recip(?:ient)?notfound|recipientnotfound")),
    # Limits on us, of Gmail (https://support.google.com/a/answer/3726730) and of hosters
    (
        "ignored",
        "our-limit",
        either(
            r"""(?:sending|daily|hourly|relay|outgoing) (?:quota|limit)|(?:sender|you)\b.{0,40}exceeded.{0,40}(?:limit|quota)"""
        ),
    ),
    # Gmail: 5.2.1 with these words is a busy mailbox, not a disabled one (same page)
    (
        "ignored",
        "busy",
        either(r"receiving (?:mail|email|messages) (?:at a rate|too quickly|too many)|messages? per (?:hour|minute|day)"),
    ),
    # Postgrey, milter-greylist, Exchange
    ("ignored", "greylisted", either(r"gr[ea]y-?list")),
    # Our sender address; before "address … unknown"
    (
        "ignored",
        "our-sender",
        either(
            r"""\bsender(?:'s)?\b.{0,40}(?:reject|denied|invalid|unknown|not |verif|domain|refus|block)
            |(?:mail from|from address|envelope from)\b.{0,40}(?:reject|denied|invalid|unknown|not |domain)"""
        ),
    ),
    # AOL: mail with attachments, or from one sender, is not wanted
    ("ignored", "policy", either(r"not accepting mail (?:from|with)")),
    (
        "counts",
        "full",
        either(
            r"""WHO(?:'s)?\b.{0,60}\b(?:full|over ?(?:quota|limit|size|its)|exceed\w*|quota|too much)
            |(?:full|overflowing) (?:mail|in-?)box
            |(?:over|exceed\w*|out of|insufficient|not enough|no|low) .{0,30}\b(?:disk|storage|quota|mailbox (?:size|limit)|allowed size)
            |\bquota\b.{0,30}(?:exceed|full|reach|violat|overdraft)|disk ?(?:quota|full)|no space left|too much mail
            |(?:postfach|mailbox|speicher)\b.{0,40}(?:voll\b|überfüllt|überschritten)
            |bo[iî]te\b.{0,60}(?:pleine|satur|quota)|quota .{0,20}(?:dépass|atteint)
            |(?:buz[oó]n|casilla|cuenta)\b.{0,40}(?:llen[oa]|cuota|exced)|casella\b.{0,40}piena|caixa\b.{0,40}cheia
            |skrzynka\b.{0,40}(?:pełna|przepełniona)|переполнен
            |メールボックス.{0,20}(?:一杯|いっぱい|満杯|超)|容量.{0,10}超|邮箱.{0,10}满|邮箱空间"""
        ),
    ),
    # Block lists name themselves by host; the rest are filters' words, https://www.spamhaus.org/faqs
    (
        "ignored",
        "spam",
        either(
            r"""\bspam\w*|anti-?spam|junk ?(?:e-?)?mail|\bu[bc]e\b|unsolicited|bulk (?:e-?)?mail|advert|pornograph
            |black ?list|block ?-?list|\b[rd]n?s?bl\b|black ?hole|listed (?:at|in|on|by)\b|\bblocked\b|blocking|\bbanned\b
            |spamhaus|spamcop|sorbs\.net|barracudacentral|uribl|surbl|abuseat
            |reputation|phish|virus|malware|\bworm\b|suspicious|abus(?:e|ive)"""
        ),
    ),
    # Sizes: RFC 1870
    (
        "ignored",
        "too-big",
        either(
            r"""(?:message|mail|letter|size|body|header|attachment)\b.{0,60}too (?:big|large|long)
            |(?:message|mail|letter|size|body|header|attachment)\b.{0,60}exceed\w*.{0,40}(?:size|limit|max|length)
            |too (?:big|large)|size limit|max(?:imum)? (?:message |allowed )?(?:size|length)|larger than"""
        ),
    ),
    # Policies, authentication, relaying: whose set-up is wrong cannot be told, so nobody is given up for it
    (
        "ignored",
        "policy",
        either(
            r"""\bpolic(?:y|ies)\b|\bspf\b|sender policy framework|\bdkim\b|\bdmarc\b|authenticat|access denied|permission denied
            |(?<!name )not (?:allowed|authori[sz]ed|permitted|accepting (?:mail|messages|e-?mail) (?:from|with))
            |unauthori[sz]ed|prohibited|restricted|administrative|security|\brule(?:s|set)?\b|filter(?:ed|ing|s)?\b
            |reverse dns|\bptr\b|rdns|\bhelo\b|\behlo\b|requires? (?:confirmation|verification)|challenge
            |only accepts?\b|white ?list|allow ?list|relaying|relay (?:access )?(?:denied|not|prohibited|is)\b
            |(?:to|cannot|not|no) relay|rcpthosts|not a (?:gateway|relay)
            |(?:message|mail|e-?mail) (?:content )?(?:was |has been |is )?(?:rejected|refused|denied)\b
            |content (?:was )?(?:rejected|filter|denied|blocked)|objectionable|inappropriate
            |not accepted for|refused by|transaction failed"""
        ),
    ),
    # Gmail 5.2.1, Apple, wp.pl, Yahoo "delivery error: dd … disabled or discontinued [#102]"
    (
        "hard",
        "disabled",
        either(
            r"""WHO\b.{0,80}\b(?:disabled|de-?activated|discontinued|suspended|inactive|not active|expired|closed|terminated)
            |WHO\b.{0,80}\b(?:cancel\w*|deleted|locked|frozen|no longer)|not an active|deaktiviert|désactivé|deshabilitad
            |(?:disabled|de-?activated|inactive|suspended|closed|expired|terminated|deleted) WHO|zablokowan|nieaktywn"""
        ),
    ),
    (
        "hard",
        "unknown-domain",
        either(
            r"""(?:domain|host)(?: ?name)?\b[^:;]{0,40}(?:not found|unknown|does ?n[o']t exist|doesn't exist|not exist|invalid|no such)
            |(?:unknown|no such|invalid|non-?existent|bad|unrouteable mail|unroutable mail) (?:host|domain)|nxdomain|null ?mx
            |does(?: not|n't) accept (?:any )?(?:e-?mail|mail)|name or service not known|couldn't find any host
            |dns error: address resolution"""
        ),
    ),
    # RFC 5321 §4.2.3: 550 mailbox unavailable, 553 mailbox name not allowed. Yahoo: "doesn't have a yahoo.com account".
    # GMX and web.de: https://postmaster.gmx.net/en/error-messages
    (
        "hard",
        "unknown-mailbox",
        either(
            r"""WHO\b.{0,80}?(?:unknown|not known|not? (?:longer )?(?:found|valid|exist|listed|on server)|does ?n[o']t exist)
            |WHO\b.{0,80}?(?:doesn't exist|do not exist|non-?exist[ae]nt|invalid|incorrect|not? recogni[sz]ed|unrecogni[sz]ed)
            |WHO\b.{0,80}?(?:not available|wrong|rejected|not match)
            |(?:unknown|invalid|no such|no valid|bad|non-?exist[ae]nt|unrouteable|unroutable|incorrect|wrong|illegal)NEAR
            |(?:undeliverable|not? find|not our|not a (?:valid|known|local|current)|no|aucun)NEAR
            |doesn't have an? .{0,60}account|mailbox (?:is )?unavailable|mailbox name not allowed|not our customer|not a known
            |badrcptto|bad_recipient|does not (?:like|exist)|doesn't exist|no account by|not listed in""".replace(
                "NEAR",
                r"[ _-](?:\S{1,20} ){0,2}(?:WHO|customer|person|final delivery|local part|one by that name|destination)",
            )
        ),
    ),
    (
        "hard",
        "unknown-mailbox",
        either(
            r"""(?:empfänger|benutzer|postfach|adresse|mailbox|konto)\w*\b.{0,60}(?:unbekannt|existiert nicht|ungültig)
            |(?:empfänger|benutzer|postfach|adresse|mailbox|konto)\w*\b.{0,60}nicht (?:vorhanden|gefunden|bekannt)
            |unbekannter (?:benutzer|empfänger)
            |(?:destinataire|utilisateur|adresse|bo[iî]te)\w*\b.{0,60}(?:inconnu|n'existe|inexistant|invalide|introuvable)
            |(?:usuario|destinatario|buz[oó]n|direcci[oó]n|cuenta)\b.{0,60}(?:desconocid|no existe|inexistente|no encontrad)
            |(?:usuario|destinatario|buz[oó]n|direcci[oó]n|cuenta)\b.{0,60}(?:inv[aá]lid|no v[aá]lid)
            |(?:usuário|destinatário|endereço|conta)\b.{0,60}(?:desconhecid|n[aã]o existe|inexistente|inválid)
            |(?:utente|destinatario|casella|indirizzo)\b.{0,60}(?:sconosciut|non esist|inesistente)
            |(?:odbiorc|użytkownik|uzytkownik|konto|skrzynk)\w*\b.{0,80}nie +istnieje|nieznany (?:odbiorca|użytkownik)
            |(?:пользовател|ящик|адрес)\w*.{0,60}(?:не найден|не существ)
            |(?:宛先|ユーザ|アドレス).{0,30}(?:不明|存在し|見つかり|みつかり)|(?:用户|收件人|邮箱).{0,10}不存在"""
        ),
    ),
)
# Words that say something only where the code does not.
VAGUE: tuple[tuple[Class, str, re.Pattern[str]], ...] = (
    (
        "ignored",
        "busy",
        either(
            r"""try again|temporar\w+ (?:deferred|unavailable|failure|rejected)|too (?:many|much)\b(?! hops)
            |throttl|rate limit|\bbusy\b"""
        ),
    ),
    (
        "counts",
        "routing",
        either(
            r"""time[ds]? ?-?out|connection|connect\b|could not (?:connect|initiate)|unreachable|\bhops\b|\bloop|no route
            |name ?server|\bdns\b|\bmx\b|retr(?:y|ies)|attempts|expired|gave up|given up|undelivered for|too long|not respond"""
        ),
    ),
)
