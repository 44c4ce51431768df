"""Callbacks of Amazon SES, which come through a topic of Amazon SNS. Sending: ses.py.

Secret `webhook-ses`: the ARNs of the topics that we listen to, separated by white space; those of all versions count. They are no
secret, but decide whom we believe, so there is nothing before they are set.

Sources: "SNS" is https://docs.aws.amazon.com/sns/latest/dg/, "SES" https://docs.aws.amazon.com/ses/latest/dg/.

- The body is JSON and holds its proof: RSA (PKCS #1 v1.5) with SHA-1 (version 1) or SHA-256 (2) over some of its fields, by the
  key of the certificate at SigningCertURL (SNS, sns-verify-signature-of-message.html). It is fetched from the topic's own region
  only, and kept.
- A subscription is confirmed by the action ConfirmSubscription with the message's Token, which needs no signature of ours
  (…/sns/latest/api/API_ConfirmSubscription.html); SubscribeURL is never followed.
- 5xx and 429 are sent again, three times in a minute unless the subscription says otherwise; other 4xx are given up, into its
  dead-letter queue if it has one (SNS, sns-message-delivery-retries.html, sns-dead-letter-queues.html). A delivery policy that
  goes on for more than five minutes is of no use: Timestamp is when the message was published. Raw message delivery must be off:
  nothing is signed with it.
- Two formats: event publishing (`eventType`; SES, event-publishing-retrieving-sns-contents.html), which has the message's tags,
  so `ref`; and feedback notifications (`notificationType`; SES, notification-contents.html), which have its headers, if switched
  on. SES gives a mail a Message-ID of its own, and so our link to leave tells which mail it was.
- Permanent bounces are for good; of the transient a full mailbox and the general one count, what SES says of size and contents
  does not (SES, notification-contents.html#bounce-types). "not-spam" is the opposite of a complaint (RFC 5965 and its registry).
- Opens and clicks are told by our own links, Send by the API's answer. What SES and SNS say on being set up is plain text.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.x509 import Certificate, load_pem_x509_certificate

from shared.errors import BadInput, BadToken, NotFound, Unauthenticated, Unavailable
from shared.http import Request
from shared.links import Links
from shared.logs import log
from shared.model.event import Event, Type
from shared.providers.bounces import weighed
from shared.providers.events import Bounce, iso, made, mail_of, objects, text, within
from shared.providers.ses import ref_of
from shared.providers.signatures import decoded, near, proof, texts
from shared.providers.webhooks import Fetch

SECRET = "webhook-ses"

FETCHING: Final = 5.0  # seconds for a certificate
MOST_KEPT: Final = 16  # certificates

_SIGNED = {  # the type of a message -> what is signed of it, in order
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_HASHES = {"1": SHA1, "2": SHA256}
_ARN = re.compile(r"arn:aws(-cn|-us-gov)?:sns:([a-z]{2}[a-z0-9-]{1,30}):[0-9]{12}:[A-Za-z0-9_-]{1,256}")
_CERTIFICATE = re.compile(r"/SimpleNotificationService-[0-9A-Za-z]{1,64}\.pem")
_LEAVE = re.compile(r"/unsubscribe/([^<>/,\s]+)>")

_TYPES: dict[str, Type | None] = {  # None: left out; others are "unknown"
    "Delivery": "delivered",
    "DeliveryDelay": "deferred",
    "Bounce": "bounced",
    "Reject": "bounced",
    "Rendering Failure": "bounced",
    "Complaint": "complained",
    "Send": None,
    "Open": None,
    "Click": None,
    "Subscription": None,  # to a list of SES's
    "AmazonSnsSubscriptionSucceeded": None,
}
_BOUNCES: dict[str, dict[str, Bounce]] = {  # type -> subtype ("": others); other types say nothing of the address
    "Permanent": {"": "hard"},
    "Transient": {"General": "counts", "MailboxFull": "counts"},
}
_PARTS = {"Delivery": "delivery", "DeliveryDelay": "deliveryDelay", "Bounce": "bounce", "Complaint": "complaint"}

certificates: dict[str, Certificate] = {}  # by URL, the oldest first
_fetching: dict[str, asyncio.Future[bytes]] = {}


async def prepare(request: Request, keys: Sequence[bytes], now: int, fetch: Fetch) -> None:
    """See `Asking`: the certificate, once."""
    url = _url(_message(request, keys, now))
    if url in certificates:
        return
    if url not in _fetching:
        _fetching[url] = asyncio.ensure_future(fetch(url))
        _fetching[url].add_done_callback(lambda _: _fetching.pop(url))
    try:
        async with asyncio.timeout(FETCHING):
            pem = await asyncio.shield(_fetching[url])
        certificates[url] = load_pem_x509_certificate(pem)
    except TimeoutError:
        raise Unavailable("Amazon SNS", "certificate") from None
    except (NotFound, ValueError):
        raise Unauthenticated("webhook: no such certificate") from None
    while len(certificates) > MOST_KEPT:
        del certificates[next(iter(certificates))]


def verify(request: Request, keys: Sequence[bytes], now: int) -> None:
    """See `Webhook`."""
    message = _message(request, keys, now)
    certificate, hash = certificates.get(_url(message)), _HASHES.get(text(message.get("SignatureVersion")))
    key = certificate.public_key() if certificate else None
    if certificate is None or hash is None or not isinstance(key, RSAPublicKey):
        raise Unauthenticated("webhook: no certificate")
    if not certificate.not_valid_before_utc <= datetime.fromtimestamp(now / 1000, UTC) <= certificate.not_valid_after_utc:
        raise Unauthenticated("webhook: the certificate is not valid now")
    try:
        key.verify(decoded(message.get("Signature")), _signed(message), PKCS1v15(), hash())
    except InvalidSignature:
        raise Unauthenticated("webhook: no valid signature") from None


def signed(request: Request) -> bytes:
    """What is signed of a verified message."""
    return _signed(proof(request.body))


def normalise(request: Request, links: Links, now: int) -> list[Event]:
    """See `Webhook`."""
    message = proof(request.body)
    if message["Type"] != "Notification":
        return []
    try:
        [item] = objects(message["Message"].encode("utf-8", "surrogatepass"))
    except (BadInput, ValueError):
        log("INFO", "webhook: a notification in plain text", provider="ses")
        return []
    name = text(item.get("eventType") or item.get("notificationType"))
    kind = _TYPES.get(name, "unknown")
    happening = item.get(_PARTS.get(name, ""))
    if name == "Complaint" and within(happening, "complaintFeedbackType") == "not-spam":
        kind = None
    ref = mail_of("ses", links, *_refs(item.get("mail"), links)) if kind else None
    if kind is None or ref is None:
        return []
    bounce, codes = _bounce(happening) if name == "Bounce" else ("", [_code(name, happening)])
    time = within(happening, "timestamp")
    id = within(happening, "feedbackId") or message["MessageId"]
    at = iso(time if time is not None else message["Timestamp"], now)
    return [made("ses", kind, ref, at, bounce=bounce, codes=codes, id=id)]


async def settle(request: Request, fetch: Fetch) -> None:
    """See `Asking`: a subscription of one of our topics is confirmed."""
    message = proof(request.body)
    if message["Type"] == "UnsubscribeConfirmation":
        log("ERROR", "webhook: a topic was unsubscribed: its events come no more", provider="ses")
    if message["Type"] != "SubscriptionConfirmation":
        return
    query = {
        "Action": "ConfirmSubscription",
        "Version": "2010-03-31",
        "TopicArn": message["TopicArn"],
        "Token": message["Token"],
    }
    try:
        await fetch(f"https://{_host(message['TopicArn'])}/?{urlencode(query)}")
    except NotFound as error:
        raise BadInput(f"The subscription could not be confirmed: {error}.") from None
    log("INFO", "webhook: a subscription was confirmed", provider="ses")


def _message(request: Request, keys: Sequence[bytes], now: int) -> Mapping[str, Any]:
    """A message that claims to be of one of our topics, and of now; raises Unauthenticated."""
    message = proof(request.body)
    names = _SIGNED.get(text(message.get("Type")), ())
    if not names or not all(isinstance(message.get(name), str) for name in names if name != "Subject"):
        raise Unauthenticated("webhook: not a message of SNS")
    if not isinstance(message.get("Subject", ""), str | None):
        raise Unauthenticated("webhook: not a message of SNS")
    if message["TopicArn"] not in {arn for key in texts(keys) for arn in key.split()} or not _ARN.fullmatch(message["TopicArn"]):
        raise Unauthenticated("webhook: not a topic of ours")
    try:
        near(iso(message["Timestamp"], now), now)
    except BadInput:
        raise Unauthenticated("webhook: no timestamp") from None
    return message


def _signed(message: Mapping[str, Any]) -> bytes:
    names = (name for name in _SIGNED[message["Type"]] if message.get(name) is not None)
    return "".join([f"{name}\n{message[name]}\n" for name in names]).encode("utf-8", "surrogatepass")


def _host(arn: str) -> str:
    found = _ARN.fullmatch(arn)
    assert found is not None  # `_message` saw to it
    return f"sns.{found[2]}.amazonaws.com" + (".cn" if found[1] == "-cn" else "")


def _url(message: Mapping[str, Any]) -> str:
    """SigningCertURL, if it is a certificate of SNS in the topic's region; raises Unauthenticated."""
    root, url = f"https://{_host(message['TopicArn'])}", text(message.get("SigningCertURL"))
    if not url.startswith(root) or not _CERTIFICATE.fullmatch(url.removeprefix(root)):
        raise Unauthenticated("webhook: not a certificate of SNS")
    return url


def _refs(mail: Any, links: Links) -> list[object]:
    """What may tell which mail it was."""
    found: list[object] = []
    tags = within(mail, "tags", "ref")
    for tag in tags if isinstance(tags, list) else []:
        try:
            found.append(ref_of(text(tag)))
        except ValueError:
            continue
    headers = within(mail, "headers")
    for header in headers if isinstance(headers, list) else []:
        name, value = (text(within(header, key)) for key in ("name", "value"))
        if name.lower() == "message-id":
            found.append(value)
        elif name.lower() == "list-unsubscribe":
            for token in _LEAVE.findall(value):
                try:
                    found.append(links.read_leave(token).text)
                except BadToken:
                    continue
    return found


def _bounce(bounce: Any) -> tuple[Bounce, list[object]]:
    """What it says of the address, and its codes."""
    kind, subtype = (text(within(bounce, name)) for name in ("bounceType", "bounceSubType"))
    recipients = within(bounce, "bouncedRecipients")
    status = within(recipients[0], "status") if isinstance(recipients, list) and recipients else None
    classes = _BOUNCES.get(kind, {})
    return weighed(classes.get(subtype, classes.get("", "")), status), [status, f"{kind} {subtype}"]


def _code(name: str, happening: Any) -> object:
    match name:
        case "Delivery":
            return ""
        case "DeliveryDelay":
            return within(happening, "delayType")
        case "Complaint":
            return within(happening, "complaintFeedbackType")
    return name
