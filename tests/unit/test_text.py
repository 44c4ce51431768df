"""What the text part makes of HTML."""

from __future__ import annotations

import pytest

from shared.mail.text import to_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Hello   <b>dear</b>\n reader</p><p>Bye</p>", "Hello dear reader\n\nBye\n"),
        ("<h1>Title</h1><p>x</p><h2>Sub</h2><p>y</p>", "# Title\n\nx\n\n## Sub\n\ny\n"),
        (
            "<p>See <a href='https://x.example/a?b=1&amp;c=2'>this page</a>, now",
            "See this page <https://x.example/a?b=1&c=2>, now\n",
        ),
        ("<a href='https://x.example/'>https://x.example/</a>", "https://x.example/\n"),
        ("<a href='mailto:a@x.example'>write</a> <a href='#top'>up</a>", "write <a@x.example> up\n"),
        ("<a href='https://x.example/'><img src='i.png' alt='Logo'></a>", "Logo <https://x.example/>\n"),
        ("<a href='https://x.example/'><img src='i.png' alt=''></a>", "<https://x.example/>\n"),
        ("<ul><li>one</li><li>two <b>x</b></li></ul>", "- one\n- two x\n"),
        ("<ol><li>one</li><li>two</li></ol>after", "1. one\n2. two\n\nafter\n"),
        ("<ul><li>one<ul><li>in</li></ul></li><li>two</li></ul>", "- one\n  - in\n- two\n"),
        ("<ul><li><p>one</p></li><li><p>two</p></li></ul>", "- one\n- two\n"),
        ("a<br>b<br/>c", "a\nb\nc\n"),
        ("<blockquote><p>a</p><p>b</p></blockquote>", "> a\n>\n> b\n"),
        ("<p>a</p><hr><p>b</p>", "a\n\n----------\n\nb\n"),
        ("<pre>  x\n    y</pre>", "  x\n    y\n"),
        ("<table><tr><th>Bag</th><th>Price</th></tr><tr><td>1 kg</td><td>€38</td></tr></table>", "Bag | Price\n1 kg | €38\n"),
        ("<table role=presentation><tr><td>left</td><td>right</td></tr></table>", "left\n\nright\n"),
        ("<table role=presentation><tr><td><table><tr><td>a</td><td>b</td></tr></table></td></tr></table>", "a | b\n"),
        ("<div>a</div><div>b</div>", "a\nb\n"),
        ("a&nbsp;b &lt;c&gt; &copy;", "a b <c> ©\n"),
        ("<div style='display:none'>preheader<br><p>x</div>shown", "shown\n"),
        ("<span style='mso-hide:all'>x</span><p hidden>y</p>z", "z\n"),
        ("<head><title>T</title><style>p{}</style></head><body><script>x()</script>body", "body\n"),
        ("<!-- secret -->", ""),
        ("", ""),
        ("a\u200b\u034fb\u00ad", "ab\n"),
        ("می\u200cخواهم", "می\u200cخواهم\n"),
        ("</p></td>stray", "stray\n"),
    ],
)
def test_to_text(html: str, text: str) -> None:
    assert to_text(html) == text
