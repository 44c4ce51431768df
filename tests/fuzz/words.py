"""What odd requests are made of."""

from __future__ import annotations

from .mutations import raw
from .stage import READERS

ODD = (
    *("", "\0", "\ud800", "\U0001f4a5" * 3, "\u202e", "\x7f", "\u0663", "\u212b", "\ufdfa" * 20, "\u200b", "e\u0301", "I\u0307"),
    *(
        "1e999",
        "-1",
        "9" * 400,
        "NaN",
        "0x10",
        "0",
        "true",
        "null",
        "[]",
        "{}",
        "2027-01-14",
        "~",
        ".",
        "a.b.c",
        " ",
        "\t",
        "\u00df",
    ),
    *("../..", "%00", "%", "%zz", "a/b", "a" * 5000, "_" * 300, "'; --", "=cmd|' /C calc'!A0", "\r\nSet-Cookie: a=b", "{{7*7}}"),
    *("<script>", "__class__"),
)
FIELDS = (
    *("email", "name", "tags", "language", "country", "sp", "value", "currency", "order", "List-Unsubscribe", "ref", "__proto__"),
    "",
)
VALUES = (
    *(*READERS, "new@example.com", "a@b", "x@" + "d" * 300 + ".com", '"a b"@example.com', "ann@münchen.example", "a@[127.0.0.1]"),
    *("@", "Ann", "coffee", "coffee,tea", "en", "pt-BR", "de-", "PT", "XX", "1.50", "1,50", "1e999", "-0", "EUR", "eur", "€"),
    "One-Click",
)
SIGN = "SIGN"  # the method of a callback whose proof is still to be made
METHODS = (
    *(
        "GET",
        "POST",
        "HEAD",
        "PUT",
        "DELETE",
        "PATCH",
        "OPTIONS",
        "TRACE",
        "CONNECT",
        "PROPFIND",
        "BREW",
        "get",
        "P\u00d6ST",
        "-",
    ),
    "",
)
PARTS = (
    b"%",
    b"%zz",
    b"%ED%A0%80",
    b"%C0%AF",
    b"%2e%2e",
    b"%252e",
    b"%00",
    b"..",
    b"",
    b"%F0%9F%92%A5",
    b"%FF" * 900,
    b"a" * 9000,
)
DEEP = (b"[" * 100_000, b'{"a":' * 20_000, b"[" * 900 + b"]" * 900, b'{"message":' * 900 + b"1" + b"}" * 900, b'"' * 9)
LONG = (b"x" * 70_000, b"a=b&" * 200)
MULTIPART = (b"--B\r\n", b"--B--", b"--B\r\ncontent-disposition: form-data; name=email\r\n\r\n")

_FORM, _JSON, _MULTIPART = "application/x-www-form-urlencoded", "application/json", "multipart/form-data"
_TYPES = (
    *(_FORM, f"{_FORM};charset=x", _JSON, f"{_JSON}; charset=utf-16", "application/JSON;;;", "application/cloudevents+json"),
    *(_MULTIPART, f"{_MULTIPART}; boundary=", f"{_MULTIPART}; boundary=B", "text/plain", "image/gif", "text/html; charset=\xff"),
    *("", ";", "a/" + "b" * 3000, "\xff\xfe"),
)
_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    *("Googlebot/2.1", "GoogleImageProxy", "-", "", "\xff" * 50, "Mozilla/" * 900),
)
_FORWARDED = (
    *("1.2.3.4", "::1", "1.2.3.4, 5.6.7.8", ",,,,", "unknown", "[::1]:80", "999.1.1.1", "1.2.3.4:80", "fe80::1%eth0", "\xff"),
    "a" * 4000,
)
HEADERS = (
    *((b"content-type", raw(one)) for one in _TYPES),
    *((b"user-agent", raw(one)) for one in _AGENTS),
    *((b"x-forwarded-for", raw(one)) for one in _FORWARDED),
    *((b"content-length", one) for one in (b"-1", b"abc", b"9999999999999999999999", b"0", b"1, 2", b"")),
    *((b"content-encoding", one) for one in (b"gzip", b"br", b"identity", b"x")),
    *((b"traceparent", one) for one in (b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01", b"00-x", b"-" * 80, b"\xff")),
    *((b"x-cloud-trace-context", one) for one in (b"1/2;o=1", b"/;", b"g" * 99)),
    *((b"accept", one) for one in (b"application/json", b"*/*", b";q=x", b"image/webp")),
    *((b"host", one) for one in (b"evil.example", b"", b"[::1", b"a:b:c", b"\xff")),
    *((b"authorization", one) for one in (b"Bearer", b"Bearer x", b"Basic Og==", b"Basic \xff", b"bearer a.b.c", b" ")),
    *((b"cookie", one) for one in (b"a=b", b"=", b"\xff;" * 99)),
    *((b"purpose", b"prefetch"), (b"sec-purpose", b"prefetch;prerender"), (b"transfer-encoding", b"chunked"), (b"", b"")),
    *((b"expect", b"100-continue"), (b"range", b"bytes=0-"), (b"if-none-match", b"*"), (b"upgrade", b"websocket")),
    (b"x-http-method-override", b"DELETE"),
)
