"""What every sender by an HTTP API must do. A subclass per provider gives the `server` fixture, its kind and options; pytest collects
those only. The server puts the values in as the provider documents it, so that the test sees what each reader gets.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError, Denied, Unavailable
from shared.ports import Attachment, Letter, Outcome, Outgoing, Pieces, Stop
from shared.providers import Given
from shared.providers.api import CHECKED_FOR, Answer, ApiSender, Refused
from shared.providers.senders import open_sender
from tests.providers.api_server import FakeApi, Reply

FROM = "bounces@shop.example"
SYNTAX = (  # what means something to one provider or another
    "{{name}} {{{name}}} \\{{x}} {{#if a}}b{{/if}} {{ *|FNAME|* *|UNSUB:https://x.example|* %recipient.name% %recipient% "
    "%unsubscribe_url% -name- <%asm%> [unsubscribe] {{{ pm:unsubscribe }}} *|HTML:X|* 100% }} }}} \\"
)


def letter(
    *, subject: Pieces = ("Hello ", 0), text: Pieces = ("Dear ", 0, ",\n\nread ", 1, "\n"), html: Pieces = ("<p>Dear ", 2, "</p>")
) -> Letter:
    """A bulk mail's rendering: values are a name, a link, the name in HTML, the link that leaves, a message id."""
    return Letter(
        from_name='Müller & Söhne, "Laden"',
        from_address="news@shop.example",
        reply_to="hello@shop.example",
        subject=subject,
        text=text,
        html=html,
        headers={
            "List-Unsubscribe": ("<", 3, ">"),
            "List-Unsubscribe-Post": ("List-Unsubscribe=One-Click",),
            "List-Id": ("Übersicht der Woche <list.shop.example>",),
            "Message-ID": (4,),
        },
    )


BULK = letter()
SINGLE = Letter("Shop", "news@shop.example", "", ("Hello ", 0), ("Dear ", 0, ".\n"), (), {"Auto-Submitted": ("auto-generated",)})


def mail(n: int, of: Letter = BULK, *, name: str = "", address: str = "") -> Outgoing:
    who = name or f"Zoë {n}"
    values = (
        who,
        f"https://shop.example/c/{n}",
        f"<b>{who}</b>",
        f"https://shop.example/u/{n}~{'x' * 120}",
        f"<m{n}@shop.example>",
    )
    return Outgoing(address or f"r{n}@example.org", ref=f"C-0001~{n:022d}~", letter=of, values=values)


def mails(count: int, of: Letter = BULK) -> list[Outgoing]:
    return [mail(n, of) for n in range(count)]


def filled(pieces: Pieces, values: Sequence[str]) -> str:
    return "".join(piece if isinstance(piece, str) else values[piece] for piece in pieces)


def kinds(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.kind for outcome in outcomes]


_WORDS = st.sampled_from(
    ["errors", "field", "personalizations.0.to.0.email", "ErrorCode", "MessageID", "message", "id", "name", "status"]
)
_WORDS |= st.sampled_from(
    ["BulkEmailEntryResults", "Status", "SUCCESS", "sent", "rejected", "email", "r0@example.org", "scopes", "__type"]
)
ANSWERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=3),
    max_leaves=6,
)


class SenderContract:
    """A subclass sets what the operator would write, and gives `server`."""

    KIND: ClassVar[str]
    OPTIONS: ClassVar[dict[str, str]] = {}
    MESSAGE_ID: ClassVar[bool] = True  # whether the reader's Message-ID is ours
    BLAMES: ClassVar[bool] = False  # whether one bad address is known without further calls

    @pytest.fixture
    def server(self) -> FakeApi:
        raise NotImplementedError

    def configured(self, server: FakeApi, **options: str) -> Given:
        async def secret() -> str:
            return server.key

        return Given(name="way-out", options={"endpoint": server.url, **self.OPTIONS, **options}, secret=secret)

    @pytest.fixture
    async def sender(self, server: FakeApi) -> AsyncIterator[Any]:
        sender = open_sender(self.KIND, self.configured(server))
        yield sender
        await sender.close()

    def check(self, server: FakeApi, sent: Sequence[Outgoing]) -> None:
        """Every reader got one mail, for them alone, as the letter and the values say."""
        assert len(server.inbox) == len(sent)
        inbox = {mail.to[0]: mail for mail in server.inbox}
        for one in sent:
            assert one.letter is not None
            got = inbox[one.recipient]
            headers = {name.lower(): filled(pieces, one.values) for name, pieces in one.letter.headers.items()}
            if not self.MESSAGE_ID:
                headers.pop("message-id", None)
            assert got.to == [one.recipient]
            assert got.sender == (one.letter.from_name, one.letter.from_address)
            assert got.reply_to == one.letter.reply_to
            assert got.subject == filled(one.letter.subject, one.values)
            assert got.text == filled(one.letter.text, one.values)
            assert got.html == filled(one.letter.html, one.values)
            assert got.headers == headers
            assert got.ref == one.ref
            assert got.files == [(file.name, file.kind, file.data) for file in one.attachments]

    # --- what readers get

    async def test_files_go_with_the_mail_that_they_belong_to(self, sender: ApiSender, server: FakeApi) -> None:
        files = (
            Attachment("data.json", "application/json", '{"ü": 1}'.encode()),
            Attachment("data.csv", "text/csv", bytes(range(256))),
        )
        large = (Attachment("data.json", "application/json", b"x" * 2_000_000),)
        out = [mails(4)[0], *[one._replace(attachments=files) for one in mails(4)[1:3]], mails(4)[3]._replace(attachments=large)]
        assert kinds(await sender.send(FROM, out)) == ["sent"] * 4
        self.check(server, out)

    async def test_whether_a_mail_with_files_was_taken_is_not_known_from_a_lost_answer(
        self, sender: ApiSender, server: FakeApi
    ) -> None:
        server.faults = {1: "reset", 2: "garbage"}
        out = mail(0)._replace(attachments=(Attachment("data.csv", "text/csv", b"a"),))
        assert kinds(await sender.send(FROM, [out])) == ["unknown"]
        assert kinds(await sender.send(FROM, [out])) == ["sent" if server.good == 202 else "unknown"]

    async def test_every_reader_gets_their_own_mail_and_no_other(self, sender: ApiSender, server: FakeApi) -> None:
        assert sender.form == "letter" and sender.window == server.window
        out = mails(7)
        assert kinds(await sender.send(FROM, out)) == ["sent"] * 7
        self.check(server, out)
        assert server.of("r3@example.org").headers["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"

    async def test_one_mail_alone(self, sender: ApiSender, server: FakeApi) -> None:
        assert kinds(await sender.send(FROM, [mail(1)])) == ["sent"]
        self.check(server, [mail(1)])

    async def test_mails_of_several_letters_are_told_apart(self, sender: ApiSender, server: FakeApi) -> None:
        out = [mail(n, SINGLE if n % 3 else BULK) for n in range(12)]
        assert kinds(await sender.send(FROM, out)) == ["sent"] * 12
        self.check(server, out)

    async def test_fixed_text_in_the_providers_own_syntax_reaches_the_reader(self, sender: ApiSender, server: FakeApi) -> None:
        nasty = letter(
            subject=("{{name}} *|X|* %recipient.x% ", 0, "}} {"),
            text=(SYNTAX, 0, SYNTAX, 1, "{", 0, "}\\", 0, "} end"),
            html=("<p>" + SYNTAX, 2, "{{", 2, "}}%recipient.", 0, "%*|", 0, "|*</p>"),
        )
        out = [*mails(3, nasty), *(mail(n, Letter(*_parts(nasty), headers={})) for n in range(3, 6))]
        assert kinds(await sender.send(FROM, out)) == ["sent"] * 6
        self.check(server, out)

    async def test_values_in_the_providers_own_syntax_are_values(self, sender: ApiSender, server: FakeApi) -> None:
        plain = Letter(*_parts(BULK), headers={})
        out = [mail(n, of, name=SYNTAX) for n, of in enumerate((BULK, BULK, plain, plain))] + [mail(9), mail(10, plain)]
        assert kinds(await sender.send(FROM, out)) == ["sent"] * 6
        self.check(server, out)

    async def test_empty_and_long_values(self, sender: ApiSender, server: FakeApi) -> None:
        out = mails(4)
        empty = Outgoing("empty@example.org", ref="C-1~e~", letter=SINGLE, values=("",))
        long = mail(5, name="long " * 4000)
        assert kinds(await sender.send(FROM, [*out, empty, long])) == ["sent"] * 6
        self.check(server, [*out, empty, long])

    async def test_a_long_ref_comes_back_whole(self, sender: ApiSender, server: FakeApi) -> None:
        ref = f"{'C' * 40}~{'a_-' * 7}x~{'k' * 40}"
        one = Outgoing("r@example.org", ref=ref, letter=BULK, values=mail(1).values)
        assert kinds(await sender.send(FROM, [one, mail(2)])) == ["sent"] * 2
        self.check(server, [one, mail(2)])

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def test_any_text_between_any_values(self, data: st.DataObject) -> None:
        characters = st.text(alphabet="{}\\%*|-.rv01 \nü<&", max_size=8)
        words = st.sampled_from(["%recipient.", "%recipient.v0%", "*|V0|*", "{{v0}}", "{{f0}}", "{{{", "}}}", "-0-"])
        piece = st.one_of(characters, words, st.integers(0, 2))
        texts = st.lists(piece, min_size=1, max_size=8)
        # neighbours are one piece, as a compiler writes them; a mail has some text and a subject
        of = letter(
            subject=("s", *_joined(data.draw(texts))), text=("t", *_joined(data.draw(texts))), html=_joined(data.draw(texts))
        )
        values = st.tuples(*[st.one_of(characters, words) for _ in range(3)])
        out = [
            Outgoing(
                f"r{n}@example.org", ref=f"r{n}", letter=of, values=(*data.draw(values), f"https://x.example/{n}", f"<{n}@x>")
            )
            for n in range(data.draw(st.integers(1, 3)))
        ]
        asyncio.run(self._delivered(out))

    async def _delivered(self, out: list[Outgoing]) -> None:
        async with self.fresh() as server:
            sender = open_sender(self.KIND, self.configured(server))
            assert kinds(await sender.send(FROM, out)) == ["sent"] * len(out)
            await sender.close()
            self.check(server, out)

    def fresh(self) -> FakeApi:
        """A server of this provider, not yet started."""
        raise NotImplementedError

    # --- calls

    async def test_a_call_holds_at_most_a_window(self, sender: ApiSender, server: FakeApi) -> None:
        out = mails(sender.window + 1)
        assert kinds(await sender.send(FROM, out)) == ["sent"] * len(out)
        assert max(server.sizes) <= sender.window and sum(server.sizes) == len(out)
        self.check(server, out)

    async def test_an_address_twice_goes_in_two_calls(self, sender: ApiSender, server: FakeApi) -> None:
        out = [mail(1), mail(2), mail(3, address="R1@example.org"), mail(4, address="r1@example.org")]
        assert kinds(await sender.send(FROM, out)) == ["sent"] * 4
        assert len(server.inbox) == 4 and server.sends >= 3

    async def test_a_call_too_large_goes_in_parts(self, sender: ApiSender, server: FakeApi) -> None:
        big = letter(text=("long " * 2000, 0, "\n"))
        sender.api.size = 40_000
        out = mails(9, big)
        assert kinds(await sender.send(FROM, out)) == ["sent"] * 9
        self.check(server, out)

    async def test_a_mail_too_large_by_itself_is_its_own_fault(self, sender: ApiSender, server: FakeApi) -> None:
        sender.api.size = 4_000
        huge = letter(text=("long " * 2000, 0, "\n"))
        assert kinds(await sender.send(FROM, [mail(1, SINGLE), mail(2, huge), mail(3, SINGLE)])) == ["sent", "message", "sent"]
        self.check(server, [mail(1, SINGLE), mail(3, SINGLE)])

    async def test_a_connection_is_used_again(self, sender: ApiSender, server: FakeApi) -> None:
        await sender.ready()
        for n in range(4):
            await sender.send(FROM, [mail(n)])
        assert server.open == 1

    async def test_nothing_to_send(self, sender: ApiSender, server: FakeApi) -> None:
        assert await sender.send(FROM, []) == []
        assert server.sends == 0

    async def test_once_told_to_stop_no_call_is_begun(self, sender: ApiSender, server: FakeApi) -> None:
        stop = Stop()
        take, calls = server.accept, []

        def and_stop(request: Any, body: bytes) -> Any:
            calls.append(1)
            stop.now()
            return take(request, body)

        server.accept = and_stop  # type: ignore[method-assign]
        out = mails(sender.window + 30)
        outcomes = await sender.send(FROM, out, stop)
        assert set(kinds(outcomes)) == {"sent", "unsent"} and len(calls) <= sender.api.lanes
        self.check(server, [one for one, outcome in zip(out, outcomes, strict=True) if outcome.kind == "sent"])

    # --- one mail's fault

    async def test_a_bad_address_fails_alone(self, sender: ApiSender, server: FakeApi) -> None:
        server.bad = {"r11@example.org"}
        out = mails(40)
        outcomes = await sender.send(FROM, out)
        assert kinds(outcomes) == [
            "message" if n == 11 and outcomes[11].kind == "message" else k for n, k in enumerate(_but(40, 11))
        ]
        self.check(server, [one for one in out if one.recipient not in server.bad])
        if self.BLAMES:
            assert server.sends <= 2 or len(server.sizes) == 40

    async def test_several_bad_addresses_fail_alone(self, sender: ApiSender, server: FakeApi) -> None:
        bad = {3, 4, 21, 39}
        server.bad = {f"r{n}@example.org" for n in bad}
        out = mails(40)
        outcomes = await sender.send(FROM, out)
        assert {n for n, outcome in enumerate(outcomes) if outcome.kind != "sent"} == bad
        assert {outcomes[n].kind for n in bad} <= {"recipient", "message"}
        self.check(server, [one for one in out if one.recipient not in server.bad])

    async def test_an_address_that_is_none_is_not_handed_over(self, sender: ApiSender, server: FakeApi) -> None:
        odd = [
            "a@example.org, b@example.org",
            "Ada <a@example.org>",
            "zoë@example.org",
            "a@example.org\r\nBcc: b@example.org",
            "",
        ]
        out = [mail(0), *(mail(n + 1, address=address) for n, address in enumerate(odd) if address)]
        assert kinds(await sender.send(FROM, out)) == ["sent"] + ["message"] * 4
        assert [one.to for one in server.inbox] == [["r0@example.org"]]

    async def test_whoever_is_left_after_a_stop_word_waits(self, sender: ApiSender, server: FakeApi) -> None:
        server.faults = dict.fromkeys(range(1, 200), 429)
        out = mails(sender.window + 30)
        assert set(kinds(await sender.send(FROM, out))) == {"throttle"}
        assert server.sends <= sender.api.lanes and server.inbox == []

    async def test_no_code_holds_an_address(self, sender: ApiSender, server: FakeApi) -> None:
        server.bad = {"r1@example.org"}
        for status in (400, 401, 403, 404, 413, 429, 500, 503):
            server.sends, server.faults = 0, {1: status}
            for outcome in await sender.send(FROM, mails(3)):
                assert "@" not in outcome.code and len(outcome.code) < 60

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        status=st.sampled_from([200, 202, 204, 302, 400, 401, 403, 404, 413, 418, 422, 429, 500, 503]),
        data=ANSWERS,
        count=st.integers(1, 3),
    )
    def test_no_answer_is_read_as_more_than_it_says(self, status: int, data: object, count: int) -> None:
        sender = open_sender(self.KIND, self.configured(self.fresh()))
        assert isinstance(sender, ApiSender)
        answer = Answer(status, {}, json.dumps(data).encode())
        reading = sender.api.read(answer, mails(count, SINGLE))
        sender.api.sound(answer)
        if isinstance(reading, Refused):
            assert 400 <= status < 500 or (status >= 500 and isinstance(data, dict))  # a 5xx refuses nothing by itself
        else:
            assert len(reading) == count
            assert status < 300 or "sent" not in kinds(reading)

    # --- credentials

    async def test_a_key_stored_with_a_line_end_is_good(self, server: FakeApi) -> None:
        async def secret() -> str:
            return server.key + "\n"

        sender = open_sender(self.KIND, Given(name="way-out", options=self.configured(server).options, secret=secret))
        await sender.ready()
        assert kinds(await sender.send(FROM, mails(2))) == ["sent"] * 2
        await sender.close()

    async def test_ready_asks_once_an_hour(self, sender: ApiSender, server: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
        for _ in range(3):
            await sender.ready()
        assert len(server.asked) == 1 and server.inbox == [] and server.sends == 0
        now = asyncio.get_running_loop().time()
        monkeypatch.setattr("shared.providers.api.time.monotonic", lambda: now + CHECKED_FOR / 2)
        await sender.ready()
        assert [one.split()[0] for one in server.asked[1:]] == ["HEAD"]  # a connection, no more
        monkeypatch.setattr("shared.providers.api.time.monotonic", lambda: now + CHECKED_FOR + 1)
        await sender.ready()
        assert server.asked[2] == server.asked[0]

    async def test_ready_refuses_bad_credentials_until_they_are_mended(self, server: FakeApi) -> None:
        key, keys = server.key, [server.key[:-1] + "x"]

        async def secret() -> str:
            return keys[-1]

        sender = open_sender(self.KIND, Given(name="way-out", options=self.configured(server).options, secret=secret))
        with pytest.raises(Denied):
            await sender.ready()
        assert set(kinds(await sender.send(FROM, mails(2)))) == {"ours"}
        keys.append(key)
        await sender.ready()
        assert kinds(await sender.send(FROM, mails(2))) == ["sent"] * 2
        keys.append(key[:-1] + "y")  # another key is not believed for the sake of the last
        with pytest.raises(Denied):
            await sender.ready()
        await sender.close()

    async def test_ready_notices_that_nobody_answers(self, server: FakeApi) -> None:
        sender = open_sender(self.KIND, self.configured(server))
        await server.__aexit__()
        with pytest.raises(Unavailable):
            await sender.ready()
        assert set(kinds(await sender.send(FROM, mails(3)))) == {"down"}
        await server.__aenter__()
        await sender.ready()
        assert kinds(await sender.send(FROM, mails(3))) == ["sent"] * 3
        await sender.close()

    async def test_without_a_secret_nothing_is_handed_over(self, server: FakeApi) -> None:
        async def secret() -> str:
            raise Unavailable("Secret Manager")

        sender = open_sender(self.KIND, Given(name="way-out", options=self.configured(server).options, secret=secret))
        with pytest.raises(Unavailable):
            await sender.ready()
        assert set(kinds(await sender.send(FROM, mails(2)))) == {"down"}
        assert server.sends == 0 and server.asked == []
        await sender.close()

    async def test_too_many_probes_say_nothing_of_the_credentials(self, sender: ApiSender, server: FakeApi) -> None:
        server.other = lambda request, body: Reply(429)  # type: ignore[method-assign]
        await sender.ready()

    # --- options

    def test_options_are_checked(self) -> None:
        async def secret() -> str:
            return ""

        def opened(**options: str) -> None:
            open_sender(self.KIND, Given(name="way-out", options=options, secret=secret))

        with pytest.raises(ConfigError, match="way-out: there is no option 'colour'"):
            opened(**self.OPTIONS, colour="red")
        with pytest.raises(ConfigError, match="way-out: the endpoint must be an https:// address"):
            opened(**self.OPTIONS, endpoint="http://api.example.com")
        for name in self.OPTIONS:
            with pytest.raises(ConfigError, match=f"way-out: the option {name} is missing"):
                opened(**{key: value for key, value in self.OPTIONS.items() if key != name})


def _parts(of: Letter) -> tuple[str, str, str, Pieces, Pieces, Pieces]:
    return of.from_name, of.from_address, of.reply_to, of.subject, of.text, of.html


def _but(count: int, bad: int) -> list[str]:
    return ["recipient" if n == bad else "sent" for n in range(count)]


def _joined(pieces: Sequence[str | int]) -> Pieces:
    found: list[str | int] = []
    for piece in pieces:
        if isinstance(piece, str) and found and isinstance(last := found[-1], str):
            found[-1] = last + piece
        elif piece != "":
            found.append(piece)
    return tuple(found)
