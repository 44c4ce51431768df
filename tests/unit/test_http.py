"""The request and response that handlers see."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from shared import http
from shared.errors import BadInput
from shared.http import Request

JSON = {"content-type": "application/json; charset=utf-8"}


@pytest.mark.parametrize(
    ("headers", "body", "fields"),
    [
        ({}, b"a=1&b=%C3%A9+x&a=2&c", {"a": "2", "b": "é x", "c": ""}),
        ({}, b"", {}),
        (JSON, b'{"a": "x", "b": 3, "c": null, "d": [1], "e": true}', {"a": "x", "b": "3", "d": "[1]", "e": "true"}),
    ],
)
def test_a_form_is_read(headers: dict[str, str], body: bytes, fields: dict[str, str]) -> None:
    assert Request("POST", headers=headers, body=body).form() == fields


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b"\xff"),
        ({}, b"&".join(b"a=1" for _ in range(101))),
        (JSON, b""),
        (JSON, b"[1]"),
        (JSON, b"{"),
        (JSON, b"\xff{}"),
        (JSON, b"[" * 200_000),
        (JSON, rb'{"words": "\ud800"}'),
        (JSON, rb'{"\udfff": "x"}'),
    ],
)
def test_a_body_that_is_no_form_is_one_sentence(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(BadInput) as refused:
        Request("POST", headers=headers, body=body).form()
    assert str(refused.value).endswith(".") and "\n" not in str(refused.value)


def test_who_wants_json() -> None:
    assert Request("POST", headers={"content-type": "Application/JSON"}).wants_json
    assert Request("POST", headers={"accept": "text/html, application/json"}).wants_json
    assert not Request("POST", headers={"accept": "text/html"}).wants_json


def test_pages_may_not_run_load_or_be_framed() -> None:
    answer = http.html("<p>x", style="p{}")
    digest = base64.b64encode(hashlib.sha256(b"p{}").digest()).decode()
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none';") and f"style-src 'sha256-{digest}'" in policy
    assert "script" not in policy and "frame-ancestors 'none'" in policy
    for made in (answer, http.json({}), http.text("x")):
        assert made.headers["x-content-type-options"] == "nosniff" and made.headers["cache-control"] == "no-store"


def test_text_and_json() -> None:
    assert http.text("No.", 404).body == b"No.\n" and http.text("No.", 404).status == 404
    assert json.loads(http.json({"é": 1}, 202).body) == {"é": 1}


def test_a_redirect_is_ascii_and_leaves_what_is_encoded() -> None:
    assert http.redirect("https://x.example/%20é?a=b&c=%26#d").headers["location"] == "https://x.example/%20%C3%A9?a=b&c=%26#d"
    assert http.redirect("https://x.example/\r\nset-cookie:a").headers["location"].isprintable()
