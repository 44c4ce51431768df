"""Tracking the obvious way: a Flask step on functions-framework, and one write of Google's own Firestore client for each hit."""

from __future__ import annotations

import base64
import time
from functools import cache
from typing import Any

import flask
import functions_framework
from google.cloud import firestore

_GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")


@cache
def _hits() -> Any:
    return firestore.Client().collection("hits")


@functions_framework.http
def naive(request: flask.Request) -> flask.typing.ResponseReturnValue:
    """The hit of `bench.load`, unverified: the document is durable before the answer, as our event is."""
    _, kind, token, *_ = request.path.split("/")
    _hits().add({"kind": kind, "mail": token, "agent": request.headers.get("user-agent"), "at": int(time.time() * 1000)})
    if kind == "k":
        return flask.redirect("https://lumen-coffee.example/shop/lot-1")
    return _GIF, 200, {"content-type": "image/gif", "cache-control": "no-store"}
