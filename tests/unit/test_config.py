"""Settings come from the environment; what is missing is named."""

from __future__ import annotations

import pytest

from functions.send_batch.main import Config
from shared.config import Base, Pushed, load, one_of
from shared.errors import ConfigError

BASE = {"STACK": "embedded", "STATE_DIR": "/tmp/x", "TENANT": "t", "PUBLIC_URL": "https://x.example"}
PUSH = BASE | {"PUSH_AUTH": "iam", "PUSH_AUDIENCE": "a", "PUSH_ISSUER": "i", "PUSH_EMAIL": "e@x.example"}


def test_settings_are_read() -> None:
    found = load(Base, BASE | {"TRUSTED_HOPS": "2", "OTHER": "x"})
    assert (found.stack, found.tenant, found.public_url, found.trusted_hops) == ("embedded", "t", "https://x.example", 2)
    smtp = load(Config, PUSH | {"SMTP_HOST": "h", "SMTP_PORT": "25", "SMTP_SECURITY": "none", "LEASE_MS": ""})
    assert (smtp.smtp_port, smtp.lease_ms, smtp.trusted_hops) == (25, 90_000, 0)


def test_everything_missing_or_malformed_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        load(Config, {"STACK": "embedded", "TENANT": "", "SMTP_PORT": "many", "TRUSTED_HOPS": "1.5"})
    named = str(refused.value)
    for name in ("TENANT", "PUBLIC_URL", "PUSH_AUTH", "PUSH_AUDIENCE", "PUSH_ISSUER", "PUSH_EMAIL", "SMTP_HOST", "SMTP_SECURITY"):
        assert f"{name} is not set" in named
    for name in ("SMTP_PORT", "TRUSTED_HOPS"):
        assert f"{name} must be a whole number" in named
    assert "STACK" not in named and "many" not in named


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"PUSH_AUTH": "off"}, "PUSH_AUTH must be iam or oidc"),
        ({"PUSH_AUTH": ""}, "PUSH_AUTH is not set"),
        ({"PUSH_AUTH": "oidc"}, "PUSH_CERTS must be set"),
        ({"STATE_DIR": ""}, "STATE_DIR must be set"),
        ({"STACK": "aws"}, "STACK must be embedded or google, not 'aws'"),
        ({"STACK": "google"}, "GOOGLE_CLOUD_PROJECT must be set"),
        ({"PUBLIC_URL": "https://x.example/"}, "PUBLIC_URL must not end"),
        ({"TRUSTED_HOPS": "-1"}, "TRUSTED_HOPS must not be negative"),
    ],
)
def test_settings_that_contradict_are_refused(changes: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load(Pushed, PUSH | changes)
    assert load(Pushed, PUSH).push_auth == "iam"


def test_a_word_out_of_a_list() -> None:
    assert one_of("SECURITY", "tls", "none", "tls") == "tls"
    with pytest.raises(ConfigError, match="SECURITY must be none or tls, not 'ssl'"):
        one_of("SECURITY", "ssl", "none", "tls")
