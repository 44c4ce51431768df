"""What mail servers and mail programs write for people: whether a text says that a mail failed, is still on its way, or neither.

Formats without machine-readable parts are old (qmail's QSBMF, https://cr.yp.to/proto/qsbmf.txt; Exchange 5.5, Domino, Exim, IMail),
and in wide use. A person's answer, an out-of-office note or a request to confirm may quote or resemble them: only what a mail system
sent, in its own words and outside quotes, is read as a bounce.
"""

from __future__ import annotations

import re
from typing import Literal

from shared.bounces.mail import Mail
from shared.bounces.phrases import either

Told = Literal["failed", "delayed", ""]

_DAEMON = either(
    r"""mailer[-_.]?daemon|mail[-_. ]?(?:delivery|system|daemon|router|administrator|server|service|gateway|manager)|post-?master
    |delivery[-_. ]?(?:sub)?system|mdaemon|system administrator|administrator@|mmdf|\bsmtp\b|\bmta\b|auto(?:mated)?[-_.]?mailer|<>""",
    re.IGNORECASE,
)
_SUBJECT = either(
    r"""undeliver|returned (?:to sender|mail)|returning|failure|failed mail|rejected|blocked|refused|quarantine
    |mail (?:system )?error|bounce|mail failed|delivery (?:status|report|problem|error|fail|notif|warn|delay|attempt)
    |non[- ]?(?:delivery|remis|recapit)|delayed|failed:
    |not (?:be )?delivered|could ?n[o']t be delivered|(?:could|can)not (?:be )?deliver|user unknown
    |unzustellbar|nicht zugestellt|fehler bei der|zustell|non remis|échec|echec|non distribu|no entregad|devuelto|error de entrega
    |mancat[oa] (?:recapito|consegna)|não entreg|falha na entrega|niedostarcz|nie dostarcz|zwrot|не доставлен|недоставлен
    |невозможно|配信|送信でき|エラー|退信|失败""",
    re.IGNORECASE,
)
_ANSWER = re.compile(r"(?:re|aw|sv|antw|rif|odp|vs|fwd?|wg|tr|rv)(?:\[\d+\])?:", re.IGNORECASE)
_AUTOMATIC = either(
    r"""out of (?:the )?(?:office|town)|auto(?:matic|mated)?[- ]?(?:re(?:ply|sponse)|respon|answer)|^auto:|vacation|away from
    |on (?:leave|holiday)|(?:ticket|case|request) (?:#|id|received|has been)|\[#?\d+\]
    |abwesen|automatische antwort|réponse automatique|absen(?:ce|t)|respuesta autom|fuera de (?:la )?oficina|risposta automatica
    |fuori (?:sede|ufficio)|resposta autom|automatyczna odpowied|automatiska atbild|автоответ|自動(?:返信|応答)|不在|自动回复
    |autosvar|automatisk svar|automaattinen""",
    re.IGNORECASE,
)
_FAILED = either(
    r"""(?:could|can|was|were|has|have|is|did|does)(?: ?not|n't) (?:\w+ ){0,3}(?:be )?(?:deliver|reach|sent|accept|receive|process)
    |(?:unable|not able|wasn't able|impossible|failed) to (?:\w+ )?(?:deliver|send|reach)|couldn't (?:be )?(?:deliver|find|reach)
    |undeliver|del[ie]ver\w* (?:\S+ ){0,8}(?:fail|error|problem|abort|not possible|impossible)|not (?:been )?delivered
    |delivery problem|fail\w* (?:\S+ ){0,4}(?:address|recipient|deliver)|(?:address|recipient)\(?e?s?\)? failed
    |failed permanently|returned to (?:you|sender)|(?:has been|being) returned|permanent\w* (?:fatal )?(?:error|failure|fail)|bounced
    |(?:automatically|was|been|is) (?:rejected|refused|blocked|quarantined)|returned mail
    |transcript of session|error[ -](?:description|for:)|message (?:was )?(?:rejected|refused|not accepted)|not accepting mail
    |unknown (?:user|recipient|host|address)|no such (?:user|mailbox|recipient)|no mailbox here|invalid final delivery
    |(?:user|recipient|address|mailbox) (?:\S+ ){0,2}(?:unknown|not found|not known|rejected|is full|does not exist)
    |not a valid (?:user|address)|mailbox (?:exceeds|is full|full|unavailable|not found)|over quota|quota exceeded
    |did not (?:exactly )?match|encountered an? (?:\S+ )?(?:error|problem)
    |unzustellbar|nicht zustellbar|zustellung (?:\S+ ){0,6}(?:fehlgeschlagen|nicht möglich)
    |(?:konnte|wurde|kann) (?:\S+ ){0,10}nicht (?:\S+ ){0,3}(?:zugestellt|übermittelt|ausgeliefert|gesendet)
    |n'a pas pu (?:\S+ ){0,3}(?:être|etre|remis)|non remis|n'a (?:pas )?(?:\S+ )?(?:été|ete) (?:remis|distribu)
    |impossible de (?:remettre|distribuer|livrer)|échec de (?:la )?(?:remise|distribution)
    |no (?:se )?(?:ha )?(?:pudo|podido|puede) (?:ser )?(?:entrega|enviar|envia)|no (?:ha sido|fue) entregad|no entregad
    |non (?:è stato|e' stato) (?:possibile )?(?:recapit|consegn)|impossibile (?:recapitare|consegnare)
    |não (?:pôde|pode|foi) (?:ser )?(?:entreg|possível)|nie (?:został[ao]?|mogła|może|można|udało się) (?:\S+ ){0,3}(?:dostarcz|doręcz)
    |не (?:может|удалось|была?) (?:\S+ ){0,4}доставл|невозможно доставить|не доставлен
    |配信(?:でき|不能|に失敗|されません)|送信できません|届けることができません|お届けできません|エラー|无法(?:发送|投递|送达)|退信|投递失败""",
    re.IGNORECASE,
)
_DELAYED = either(
    r"""(?:has|have|was) not (?:yet |been ){1,2}(?:been )?delivered|not yet (?:been )?delivered|delivery (?:has been |is )?delayed
    |(?:has|have) been (?:delayed|deferred|postponed|queued)|delayed (?:mail|by|for)|temporar\w+ (?:delayed|deferred)
    |still (?:be )?(?:trying|tried|undelivered|in the queue|attempting|being)|attempts will continue
    |will (?:continue|keep|be retried|retry|try again|still)|be (?:made|retried|attempted) (?:for|again|until)
    |warning (?:message )?only|warning message|(?:this is )?just a warning|advisory-only|do not need to (?:resend|do anything)
    |do not resend|verzögert|noch nicht (?:zugestellt|ausgeliefert)|weiterhin versuch|retardé|différé|nouvelle tentative
    |demorad|aplazad|retrasad|in ritardo|opóźni|задерж|遅延|遅れて|延迟""",
    re.IGNORECASE,
)
_FINAL = re.compile(r"permanent|given up|gave up|giving up|no longer|last attempt", re.IGNORECASE)
# Where the returned mail begins. What follows is ours, or somebody else's.
_RETURNED = either(
    r"""^[ \t>*|=-]{0,40}(?:below this line|below the next line|-{2,} ?(?:this is a copy|the (?:body|header|unsent|original)|forwarded)
    |(?:begin )?(?:original|returned|unsent|undelivered) (?:message|mail|text)|-{2,} ?message (?:header|text|body)
    |(?:the )?(?:original|returned) message (?:follows|headers?|attached|text)|included is a copy|message headers? follow
    |message text follows|the first \d+ lines|message contents follow|a copy of (?:the|your) (?:original )?(?:message|mail)
    |your (?:original )?message reads|received: (?:from|by)\b|return-path: ?<|a summary of the undelivered|old message:
    |ursprüngliche nachricht|message d'origine|mensaje original|attachment is a copy)""",
    re.IGNORECASE | re.MULTILINE,
)
_QUOTED = re.compile(r"^[ \t]{0,3}[>|].*$", re.MULTILINE)


def own_words(mail: Mail) -> str:
    """What the sender says itself: without quotes and without the mail that came back."""
    return next((words for text in mail.texts if (words := _cut(text)).strip()), "")


def all_words(mail: Mail) -> str:
    """The same of every text: where a report's fields may be when its MIME is broken."""
    return "\n\n".join(map(_cut, mail.texts))


def _cut(text: str) -> str:
    text = _QUOTED.sub("", text)
    returned = _RETURNED.search(text)
    return text[: returned.start()] if returned else text


def of_mail_system(mail: Mail) -> bool:
    """Whether a mail system, not a person, seems to have sent it: by its name, or without an envelope sender and under a bounce's
    subject. Out-of-office notes have no envelope sender either (RFC 3834 §3.3)."""
    if mail.report == "delivery-status" or mail.all("X-Failed-Recipients") or _DAEMON.search(mail.header("From")):
        return True
    subject = mail.header("Subject")
    if mail.header("Return-Path").strip() != "<>" or of_list(mail):
        return False
    return _SUBJECT.search(subject) is not None and not _ANSWER.match(subject)


def automatic(mail: Mail) -> bool:
    """Whether it is an automatic answer of a person's mailbox or of a help desk (RFC 3834). The header is not enough where a mail
    system is the sender, whose bounces carry it too, nor is the subject, where it repeats ours."""
    subject = mail.header("Subject")
    if _DAEMON.search(mail.header("From")):
        return _AUTOMATIC.search(subject) is not None and not _SUBJECT.search(_AUTOMATIC.sub("", subject))
    return (
        _AUTOMATIC.search(subject) is not None
        or mail.header("Auto-Submitted").lower().startswith(("auto-replied", "auto-notified"))
        or mail.header("Precedence").lower() in ("auto_reply", "auto-reply")
        or any(mail.all(name) for name in ("X-Autoreply", "X-Autorespond", "X-Autogenerated"))
    )


def of_list(mail: Mail) -> bool:
    return any(mail.all(name) for name in ("List-Id", "List-Unsubscribe", "List-Post"))


def told(mail: Mail, words: str) -> Told:
    """What `words` say of the mail's way; "" when they do not speak of one, or the subject is an answer's."""
    subject = mail.header("Subject")
    named = _SUBJECT.search(subject) is not None
    if not of_mail_system(mail) and (not named or _ANSWER.match(subject)):
        return ""
    words = " ".join(words[:6000].split())
    if _DELAYED.search(words) and not _FINAL.search(words):
        return "delayed"
    failure = "(failure)" in mail.header("Auto-Submitted").lower()  # Sendmail's, where the text is lost
    return "failed" if failure or _FAILED.search(words) else ""
