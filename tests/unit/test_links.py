"""The addresses in mails: what they carry, and that nothing else is believed."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import BadToken
from shared.links import Links, trackable
from shared.model.ref import MailRef
from shared.tokens import Tokens

LINKS = Links("https://news.example", Tokens([b"k" * 32]))
REF = MailRef("C-0001", "00112233445566778899aabbccddeeff", "2027-01")
NOW = 1_800_000_000_000
_refs = st.builds(
    MailRef,
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}", fullmatch=True),
    st.binary(min_size=16, max_size=16).map(bytes.hex),
    st.from_regex(r"[A-Za-z0-9-]{0,40}", fullmatch=True),
)


def test_the_forms_never_change() -> None:
    assert REF.text == "C-0001~ABEiM0RVZneImaq7zN3u_w~2027-01" and REF.delivery == f"{REF.sid}.2027-01"
    assert LINKS.open("T") == "https://news.example/track/o/T"
    assert LINKS.click("T", "S") == "https://news.example/track/k/T/S"
    assert LINKS.trap("T") == "https://news.example/track/h/T"
    assert LINKS.track_token(REF, NOW).startswith(f"{REF.text}~6b49d200.") and LINKS.track_token(REF).startswith(f"{REF.text}.")
    assert LINKS.unsubscribe(REF).startswith(f"https://news.example/unsubscribe/{REF.text}.")
    assert LINKS.confirm("s", "c", "k", NOW).startswith(f"https://news.example/subscribe/confirm/s.c.k.{NOW // 1000}.")
    assert LINKS.message_id(REF, "news.example").startswith(f"<{REF.text}.")


@given(_refs, st.integers(1, 1 << 36))
def test_a_reference_is_read_back_from_each_link(ref: MailRef, seconds: int) -> None:
    assert MailRef.parse(ref.text) == ref
    assert LINKS.read_track(LINKS.track_token(ref)) == (ref, 0)
    for at in (seconds * 1000, seconds * 1000 + 999):
        assert LINKS.read_track(LINKS.track_token(ref, at)) == (ref, seconds * 1000)
    assert LINKS.read_leave(LINKS.unsubscribe(ref).rpartition("/")[2]) == ref
    id = LINKS.message_id(ref, "news.example")
    for form in (id, id.strip("<>"), f" {id}\n"):
        assert LINKS.read_message_id(form) == ref
    assert id.isascii() and len(id) < 250 and " " not in id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        REF.text + "~",
        REF.text + "~0",
        REF.text + "~01",
        REF.text + "~A",
        REF.text + "~1~1",
        REF.text + "~" + "1" * 11,
        REF.text.replace("~", "-"),
        "-C~ABEiM0RVZneImaq7zN3u_w~",
        "C~ABEiM0RVZneImaq7zN3u_~",
        "C~ABEiM0RVZneImaq7zN3u_x~",
        "C/1~ABEiM0RVZneImaq7zN3u_w~",
        "C~ABEiM0RVZneImaq7zN3u_w~a/b",
        "C~ABEiM0RVZneImaq7zN3u_w~\n",
    ],
)
def test_another_spelling_is_no_reference(text: str) -> None:
    with pytest.raises(BadToken):
        MailRef.parse(text)
    with pytest.raises(BadToken):  # not even with our signature
        LINKS.read_track(LINKS.tokens.sign("track", text))


@given(_refs, st.integers(0, 1 << 46))
def test_what_a_mail_carries_is_made_at_once_as_one_by_one(ref: MailRef, at: int) -> None:
    expected = LINKS.track_token(ref, at), LINKS.unsubscribe(ref), LINKS.message_id(ref, "news.example")
    assert LINKS.of_mail(ref, "news.example", at) == expected


# --- return paths -----------------------------------------------------------------------------------------------------


def test_a_return_path_never_changes_its_form() -> None:
    plain, keyed = MailRef("C-0001", REF.sid), MailRef("confirm", REF.sid, "27-01-15")
    golden = "b+C-0001~aaisem2ekvthpcezvk54zxpo74~.wx7odfidsoikqck5fung7fpn6i@b.example"
    assert LINKS.return_path(plain, "b.example") == golden
    assert base64.b32encode(bytes.fromhex(REF.sid)).decode().lower().rstrip("=") == golden[9:35]
    assert LINKS.return_path(keyed, "b.example") == f"b+{LINKS.tokens.sign('message', keyed.text)}@b.example"


@given(_refs)
def test_a_return_path_fits_and_is_read_back(ref: MailRef) -> None:
    address = LINKS.return_path(ref, "bounce.news.example")
    local, _, domain = address.rpartition("@")
    assert len(local) <= 64
    room = len(ref.campaign + ref.key)
    assert bool(address) == (room <= 15)
    if address:
        assert domain == "bounce.news.example" and "~" in local
        for form in (address, f"<{address}>", f" {address}\r\n"):
            assert LINKS.read_return_path(form) == ref
        one_case = ref.campaign + ref.key in ((ref.campaign + ref.key).lower(), (ref.campaign + ref.key).upper())
        for folded in {address.lower(), address.upper()} - {address}:
            if room <= 7 and one_case:
                assert LINKS.read_return_path(folded) == ref
            elif room > 7:
                with pytest.raises(BadToken):
                    LINKS.read_return_path(folded)


@pytest.mark.parametrize("ref", [MailRef("C-0001", REF.sid), MailRef("welcome", REF.sid, "c1")])
def test_a_changed_return_path_is_refused(ref: MailRef) -> None:
    address = LINKS.return_path(ref, "b.example")
    local = address.partition("@")[0]
    other = LINKS.return_path(MailRef(ref.campaign, "f" * 32, ref.key), "b.example").partition("@")[0]
    wrong = [
        address.replace("b+", "c+"),
        local,
        "",
        "@b.example",
        "b+@b.example",
        address + "x@b.example",
        local[2:] + "@b.example",
    ]
    wrong += [local[:n] + ("a" if local[n] != "a" else "b") + local[n + 1 :] + "@b.example" for n in range(2, len(local))]
    wrong += [local[:-22] + other[-22:] + "@b.example", local + "=@b.example", local + "a@b.example"]
    if "welcome" not in address:
        assert local[-1] in "aeimquy4"  # 2 of its 5 bits say nothing, and must be 0
        wrong += [local[:-1] + chr(ord(local[-1]) + 1) + "@b.example"]
    for text in wrong:
        with pytest.raises(BadToken):
            LINKS.read_return_path(text)
    with pytest.raises(BadToken):
        Links(LINKS.base, Tokens([b"x" * 32])).read_return_path(address)


@given(st.text(max_size=30), st.integers(0, 999))
def test_a_target_is_read_back_for_its_own_campaign_only(tail: str, n: int) -> None:
    target = "https://shop.example/" + tail
    signed = LINKS.signed_target("C-0001", n, target)
    assert "/" not in signed and signed.isascii()
    if trackable(target):
        assert LINKS.read_target("C-0001", signed) == (n, target)
    else:
        with pytest.raises(BadToken):
            LINKS.read_target("C-0001", signed)
    with pytest.raises(BadToken):
        LINKS.read_target("C-0002", signed)


def test_a_target_cannot_move_between_campaign_and_rest() -> None:
    signed = LINKS.tokens.sign("link", "C-0001/x/1.aHR0cHM6Ly9hLmI").removeprefix("C-0001/")
    with pytest.raises(BadToken):
        LINKS.read_target("C-0001", signed)


@pytest.mark.parametrize(
    ("target", "yes"),
    [
        ("https://a.example", True),
        ("http://a.example/x?y#z", True),
        ("HTTPS://A.example", True),
        ("javascript:alert(1)", False),
        ("//a.example", False),
        ("/x", False),
        ("https://", False),
        ("https:///x", False),
        ("https://[x", False),
        ("ftp://a.example", False),
        ("https://a.example/a b", False),
        ("https://a.example/\r\nSet-Cookie: x", False),
        ("mailto:a@a.example", False),
    ],
)
def test_only_web_links_are_counted(target: str, yes: bool) -> None:
    assert trackable(target) is yes


def test_a_confirmation_ends_when_it_says() -> None:
    token = LINKS.confirm("s" * 32, "c1", "20833-again", NOW).rpartition("/")[2]
    assert LINKS.read_confirm(token, NOW) == ("s" * 32, "c1", "20833-again")
    with pytest.raises(BadToken):
        LINKS.read_confirm(token, NOW + 1)
    later = token.replace(str(NOW // 1000), str(NOW // 1000 + 9))
    with pytest.raises(BadToken):
        LINKS.read_confirm(later, NOW)
