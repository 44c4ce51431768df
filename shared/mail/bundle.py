"""What is frozen of a mail that is put together from several files: all of them as one blob, of which equal files make equal bytes. A mail
of one file is frozen as that file."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping

SUFFIX = ".bundle"  # of the blob's name


def packed(data: bytes, parts: Mapping[str, bytes]) -> bytes:
    """`data`: the template's; `parts`: names to bytes, some."""
    files = {"template": _text(data), "parts": {name: _text(part) for name, part in parts.items()}}
    return json.dumps(files, sort_keys=True, separators=(",", ":")).encode()


def unpacked(blob: bytes) -> tuple[bytes, dict[str, bytes]]:
    """What was `packed`."""
    files = json.loads(blob)
    return b64decode(files["template"]), {name: b64decode(part) for name, part in files["parts"].items()}


def _text(data: bytes) -> str:
    return b64encode(data).decode()
