"""Settings come from the environment; what is missing is named, on Cloud Run at start."""

from __future__ import annotations

import subprocess
import sys

import pytest

from functions.send_batch.settings import Config
from shared.config import Base, Pushed, load, one_of
from shared.errors import ConfigError
from tests.house.imports import ROOT, STEPS

PROVIDERS = '[{"name": "main", "kind": "smtp"}]'
BASE = {"STACK": "embedded", "STATE_DIR": "/tmp/x", "TENANT": "t", "PUBLIC_URL": "https://x.example"}
PUSH = BASE | {"PUSH_AUTH": "iam", "K_SERVICE": "x", "PUSH_AUDIENCE": "a", "PUSH_ISSUER": "i", "PUSH_EMAIL": "e@x.example"}


def test_settings_are_read() -> None:
    found = load(Base, BASE | {"TRUSTED_HOPS": "2", "OTHER": "x"})
    assert (found.stack, found.tenant, found.public_url, found.trusted_hops) == ("embedded", "t", "https://x.example", 2)
    found = load(Config, PUSH | {"PROVIDERS": PROVIDERS, "LEASE_MS": "", "WAIT_MS": "5"})
    assert (found.providers, found.lease_ms, found.wait_ms, found.trusted_hops) == (PROVIDERS, 90_000, 5, 0)


def test_everything_missing_or_malformed_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        load(Config, {"STACK": "embedded", "TENANT": "", "LEASE_MS": "many", "TRUSTED_HOPS": "1.5"})
    named = str(refused.value)
    for name in ("TENANT", "PUBLIC_URL", "PUSH_AUTH", "PUSH_AUDIENCE", "PUSH_ISSUER", "PUSH_EMAIL", "PROVIDERS"):
        assert f"{name} is not set" in named
    for name in ("LEASE_MS", "TRUSTED_HOPS"):
        assert f"{name} must be a whole number" in named
    assert "STACK" not in named and "many" not in named


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"PUSH_AUTH": "off"}, "PUSH_AUTH must be iam or oidc"),
        ({"PUSH_AUTH": ""}, "PUSH_AUTH is not set"),
        ({"PUSH_AUTH": "oidc"}, "PUSH_CERTS must be set"),
        ({"K_SERVICE": ""}, "PUSH_AUTH=iam trusts .* not Cloud Run"),
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


def started(step: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process that imports a step's main.py, with nothing else in its environment."""
    command = [sys.executable, "-c", f"import functions.{step}.main"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_on_cloud_run_a_step_without_its_settings_does_not_start() -> None:
    assert started("track").returncode == 0
    for step, also in {"track": (), "record": ("PUSH_AUTH",), "launch": ("PUSH_AUDIENCE",)}.items():
        ended = started(step, K_SERVICE=step)
        assert ended.returncode != 0
        assert all(f"{name} is not set" in ended.stderr for name in ("STACK", "TENANT", "PUBLIC_URL", *also)), ended.stderr


def test_on_cloud_run_no_worker_is_killed_for_having_been_idle() -> None:
    """The framework gives gunicorn this variable as the time after which a silent worker is killed."""
    look = "import os, functions.track.main; print(os.environ.get('CLOUD_RUN_TIMEOUT_SECONDS'))"
    for service, left in ({"K_SERVICE": "track"}, "None"), ({}, "15"):
        environ = {**PUSH, "CLOUD_RUN_TIMEOUT_SECONDS": "15"} | service
        if not service:
            environ.pop("K_SERVICE", None)
        done = subprocess.run([sys.executable, "-c", look], cwd=ROOT, env=environ, capture_output=True, text=True)
        assert done.stdout.strip() == left, done.stderr


def test_on_cloud_run_a_step_with_its_settings_starts() -> None:
    for step in STEPS:
        ended = started(step, **PUSH, PROVIDERS=PROVIDERS)
        assert ended.returncode == 0, ended.stderr
