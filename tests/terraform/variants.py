"""The deployments that are planned and checked: each way that a variable changes what is made. Planned once for all tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from shared.model.endpoint import TYPES
from tests.terraform.workspace import Plan, Workspace

_ENDPOINT: Mapping[str, Any] = {"name": "crm", "url": "https://crm.example/hooks"}
_MAILBOX: Mapping[str, Any] = {"host": "imap.example.com", "user": "bounces"}
_SMTP: Mapping[str, Any] = {"name": "main", "kind": "smtp", "options": {"host": "smtp.example.com"}}
_REQUIRED: Mapping[str, Any] = {"project": "lumen-mail", "mail_providers": [_SMTP]}
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "minimal": _REQUIRED,
    "paused": {
        **_REQUIRED,
        "paused": True,
        "firestore_location": "europe-west1",
        "events_out": [{"name": "crm", "url": "https://crm.example/hooks/mail?of=news"}],
    },
    "three regions": {
        **_REQUIRED,
        "domain": "news.lumen-coffee.com",
        "regions": ["europe-west1", "us-east1", "asia-east1"],
        "firestore_location": "nam7",
        "inbox": {"host": "imap.example.com", "user": "bounces@example.com"},
    },
    "everything": {
        "project": "lumen-mail",
        "mail_providers": [
            {
                "name": "main",
                "kind": "smtp",
                "options": {"host": "mail.example.com", "port": "465", "security": "tls", "username": "lumen"},
                "weight": 3,
                "daily": 50_000,
                "domains": ["gmail.com"],
                "engaged": "engaged",
            },
            {"name": "ses-new", "kind": "ses", "options": {"region": "eu-west-1"}, "rate": 14, "warm_up": "2026-12-01"},
            {"name": "cold", "kind": "postmark", "weight": 0, "engaged": "lapsed"},
            *({"name": kind, "kind": kind, "options": {"domain": "x.com"}} for kind in ("mailgun", "mandrill", "sendgrid")),
        ],
        "dkim": {"domain": "news.lumen-coffee.com", "selector": "s1"},
        "bounce_domain": "bounces.lumen-coffee.com",
        "webhook_providers": [
            "brevo",
            "inbound",
            "mailgun",
            "mailjet",
            "mandrill",
            "postmark",
            "resend",
            "sendgrid",
            "ses",
            "sparkpost",
            "twilio",
        ],
        "events_out": [
            {"name": "crm", "url": "https://crm.example", "types": list(TYPES), "campaigns": ["C-0001", "confirm"]},
            {"name": "bounces-2", "url": "https://desk.example:8443/in"},
        ],
        "inbox": {"host": "mail.example.com", "port": 143, "user": "bounces", "folder": "Bounces", "security": "starttls"},
        "captcha": True,
        "conversion_domains": ["shop.lumen-coffee.com", "lumen.example"],
        "retention_days": 0,
        "regions": ["us-central1"],
        "domain": "news.lumen-coffee.com",
        "firestore_location": "nam5",
        "firestore_database": "restored-1122",
        "tenant": "lumen",
        "alert_email": "operator@lumen-coffee.com",
        "budget": {"billing_account": "012345-6789AB-CDEF01", "amount": 50},
        "bigquery": True,
        "repository": "projects/lumen-mail/locations/europe-west1/connections/github/repositories/pipeline",
        "state_bucket": "lumen-mail-terraform",
        "smoke_address": "operator@lumen-coffee.com",
    },
    "held": {**_REQUIRED, "hold": ["track"]},
}
# variable -> values that nobody may give, each with what else has to be said for it; one at least for every validation
REFUSED: Mapping[str, list[dict[str, Any]]] = {
    "project": [{"project": text} for text in ("Lumen", "lumen", "1lumen-mail", "lumen-mail-", "lumen_mail", "l" * 31)],
    "regions": [{"regions": given} for given in ([], ["europe"], ["europe-west1-b"], ["EUROPE-WEST1"])]
    + [{"regions": ["europe-west1", "europe-west1"], "domain": "news.lumen.com"}],
    "domain": [{"domain": text} for text in ("https://news.lumen.com", "news.lumen.com/", "News.lumen.com", "lumen", "")],
    "domain.2": [{"regions": ["europe-west1", "us-east1"]}],
    "firestore_location": [{"firestore_location": text} for text in ("", "europe", "eur5", "EU")],
    "firestore_database": [{"firestore_database": text} for text in ("", "Mails", "abc", "1-mails", "mails_1")],
    "tenant": [{"tenant": text} for text in ("", "Main", "a/b", "-main", "m" * 32)],
    "mail_providers": [{"mail_providers": []}, {"mail_providers": [_SMTP, _SMTP]}],
    "mail_providers.2": [{"mail_providers": [{**_SMTP, "name": text}]} for text in ("", "Main", "-a", "a_b", "a" * 31)],
    "mail_providers.3": [{"mail_providers": [{**_SMTP, "kind": text}]} for text in ("", "SMTP", "generic")],
    "mail_providers.4": [
        {"mail_providers": [{**_SMTP, "options": {"host": "smtp.example.com", "security": text}}]}
        for text in ("none", "STARTTLS", "")
    ],
    "mail_providers.5": [
        {"mail_providers": [{**_SMTP, "options": options}]}
        for options in (
            {},
            {"host": "smtp"},
            {"host": "smtp.example.com:587"},
            *({"host": "smtp.example.com", "port": port} for port in ("25", "0", "", "100000", "mail")),
        )
    ],
    "mail_providers.6": [{"mail_providers": [{**_SMTP, "engaged": "all"}]}]
    + [{"mail_providers": [{**_SMTP, name: -1}]} for name in ("weight", "rate", "daily")],
    "mail_providers.7": [{"mail_providers": [{**_SMTP, "warm_up": text}]} for text in ("", "soon", "2026-13-01", "2026-12")],
    "dkim": [
        {"dkim": {"domain": domain, "selector": selector}} for domain, selector in (("lumen", "s1"), ("a.com", ""), ("", "s"))
    ],
    "webhook_providers": [{"webhook_providers": [text]} for text in ("", "Sendgrid", "smtp", "generic")],
    "events_out": [{"events_out": [_ENDPOINT, {**_ENDPOINT, "url": "https://other.example"}]}],
    "events_out.2": [{"events_out": [{**_ENDPOINT, "name": text}]} for text in ("", "Crm", "-a", "a_b", "a" * 31, "crm-dead")],
    "events_out.3": [
        {"events_out": [{**_ENDPOINT, "url": text}]}
        for text in ("", "http://crm.example", "crm.example", "https://u:p@crm.example", "https://crm.example/#a", "https://a b")
    ],
    "events_out.4": [{"events_out": [{**_ENDPOINT, "types": [text]}]} for text in ("", "clicked", "mail.click")],
    "events_out.5": [{"events_out": [{**_ENDPOINT, "campaigns": [text]}]} for text in ("", "-1", "C 1", "C" * 41)],
    "inbox": [{"inbox": {**_MAILBOX, "host": text}} for text in ("", "imap", "imaps://imap.example.com", "imap.example.com:993")]
    + [{"inbox": {**_MAILBOX, "port": port}} for port in (0, 65_536)],
    "inbox.2": [{"inbox": {**_MAILBOX, name: text}} for name in ("user", "folder") for text in ("", "Rückläufer", "a\nb")],
    "inbox.3": [{"inbox": {**_MAILBOX, "security": text}} for text in ("", "none", "TLS")],
    "conversion_domains": [{"conversion_domains": [text]} for text in ("", "lumen", "https://lumen.com", "lumen.com/shop")],
    "retention_days": [{"retention_days": days} for days in (-1, 29, 30.5)],
    "bounce_domain": [{"bounce_domain": text} for text in ("", "lumen", "b@lumen.com")],
    "alert_email": [{"alert_email": text} for text in ("", "operator", "operator@lumen", "a b@lumen.com")],
    "budget": [{"budget": {"billing_account": "012345-6789AB-CDEF01", "amount": amount}} for amount in (0, -1)]
    + [{"budget": {"billing_account": text, "amount": 50}} for text in ("", "billingAccounts/012345-6789AB-CDEF01", "012345")],
    "repository": [
        {"repository": text, "state_bucket": "s"} for text in ("", "github.com/lumen/pipeline", "projects/p/repositories/r")
    ],
    "state_bucket": [{"repository": "projects/p/locations/l/connections/c/repositories/r"}],
    "smoke_address": [{"smoke_address": text} for text in ("", "operator", "operator+test@lumen.com")],
    "hold": [{"hold": given} for given in (["tracks"], ["send-batch"], ["track", ""])],
}


def bad(number: int, validation: str) -> Mapping[str, Any]:
    """All variables, with one bad value."""
    return {**_REQUIRED, **REFUSED[validation][number]}


def alone(files: Mapping[str, str], steps: Iterable[str]) -> dict[str, str]:
    """The variables without anything that uses them: their validations take a tenth of a second to ask."""
    rows = "\n".join(f"    {step} = {{}}" for step in steps)
    return {"variables.tf": files["variables.tf"], "locals.tf": f"locals {{\n  steps = {{\n{rows}\n  }}\n}}\n"}


@cache
def planned() -> Mapping[str, Plan]:
    """Every variant's plan. Needs terraform."""

    def plan(variables: Mapping[str, Any]) -> Plan:
        with tempfile.TemporaryDirectory() as folder, Workspace(Path(folder)) as workspace:
            return workspace.plan(**variables)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(VARIANTS, pool.map(plan, VARIANTS.values()), strict=True))
