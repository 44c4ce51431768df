"""SpamAssassin's own daemon is asked, and its answers are read."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from functions.launch.preflight_spamd import Rule, Spamd, Verdict, judge, read
from shared.errors import ConfigError, Unavailable
from tests.spamd import running

from .preflights import only, run

__all__ = ["running"]  # the fixture `spamd`
STARTER = Path(__file__).parents[2] / "local" / "starter"
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"  # https://spamassassin.apache.org/gtube/


@pytest.mark.network
@pytest.mark.parametrize("name", ["newsletter.md", "welcome.md"])
async def test_a_good_letter_scores_low(spamd: str, name: str) -> None:
    kept = Kept(spamd)
    report = await run((STARTER / name).read_text(), name, spam=kept)
    assert kept.verdict.score < 1.5
    assert {"HTML_MESSAGE"} <= {rule.name for rule in kept.verdict.rules}, "the table of rules is read"
    told = [*report.faults, *report.warnings, *report.notes]
    assert not [sentence for sentence in told if "SpamAssassin" in sentence]


@pytest.mark.network
async def test_spam_is_a_fault_that_names_its_rule(spamd: str) -> None:
    letter = (STARTER / "newsletter.md").read_text().replace("Slow mornings,", f"`{GTUBE}`")
    report = await run(letter, spam=Spamd(spamd))
    [fault] = [sentence for sentence in report.faults if "SpamAssassin" in sentence]
    assert fault.startswith("SpamAssassin gives this mail 100")
    assert "Generic Test for Unsolicited Bulk Email (GTUBE, 1000)" in fault


@pytest.mark.network
async def test_a_shouting_letter_scores_more_than_a_quiet_one(spamd: str) -> None:
    async def points(letter: str) -> float:
        kept = Kept(spamd)
        await run(letter, spam=kept)
        return kept.verdict.score

    loud = (
        "---\nsubject: MAKE MONEY FAST $$$\n---\n# DEAR FRIEND\n\nEARN $5,000 PER WEEK FROM HOME, 100% GUARANTEED, RISK FREE!!! "
    )
    quiet = "---\nsubject: A new roast\n---\n# Dear friend\n\nThe first harvest of the year has arrived after weeks at sea. "
    assert await points(loud + "CLICK HERE NOW!!! " * 10) > await points(quiet) + 1


class Kept:
    """A spamd, and what it said last."""

    def __init__(self, address: str) -> None:
        self._spamd, self.verdict = Spamd(address), Verdict(-1.0)

    async def score(self, mail: bytes) -> Verdict:
        self.verdict = await self._spamd.score(mail)
        return self.verdict


# --- without it -------------------------------------------------------------------------------------------------------

REPORT = """SPAMD/1.1 0 EX_OK\r
Content-length: 700\r
Spam: True ; 7.1 / 5.0\r
\r
Content preview:  a table
---- of its own
 9.9 NOT_A_RULE   said by the mail

Content analysis details:   (7.1 points, 5.0 required)

 pts rule name              description
---- ---------------------- --------------------------------------------------
-0.0 NO_RELAYS              Informational: message was not relayed via SMTP
 7.1 SOME_RULE              BODY: HTML font color similar or identical to
                            background
1000 GTUBE                  RAW: Generic Test

"""


def test_a_report_is_read_with_its_table_of_rules() -> None:
    verdict = read(REPORT.encode())
    assert verdict == Verdict(
        7.1,
        [
            Rule(-0.0, "NO_RELAYS", "Informational: message was not relayed via SMTP"),
            Rule(7.1, "SOME_RULE", "HTML font color similar or identical to background"),
            Rule(1000.0, "GTUBE", "Generic Test"),
        ],
    )
    worst = judge(Verdict(4.0, [Rule(-1.0, "FINE", "Fine"), Rule(5.0, "ODD", "Odd")]))
    assert worst.warnings[0].endswith("Change what counts most: Odd (ODD, 5).")
    assert judge(Verdict(4.0)) == only(warnings="SpamAssassin gives this mail 4 points; from 5 it is spam. Reword it.")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SPAMD/1.0 76 Bad header line: x\r\n",
        b"SPAMD/1.1 0 EX_OK\r\n\r\n",
        b"SPAMD/1.1 76 No\r\nSpam: True ; 1 / 5\r\n",
        b"HTTP/1.1 0 OK\r\nSpam: True ; 1 / 5\r\n",
    ],
)
def test_what_is_no_verdict_is_unavailable(answer: bytes) -> None:
    with pytest.raises(Unavailable):
        read(answer)


@pytest.mark.network
async def test_a_daemon_that_ends_early_is_unavailable_and_one_that_talks_for_ever_is_cut() -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(REPORT.encode())
        try:
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()
        except ConnectionError:
            writer.close()

    for behaviour in (close, talk):
        server = await asyncio.start_server(behaviour, "127.0.0.1", 0)
        async with server:
            client = Spamd(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
            if behaviour is close:
                with pytest.raises(Unavailable):
                    await client.score(b"x" * 1_000_000)
            else:
                assert (await client.score(b"x")).score == 7.1


@pytest.mark.network
async def test_nobody_there_is_unavailable() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(Unavailable, match="ConnectionRefusedError"):
        await Spamd(f"127.0.0.1:{port}").score(b"x")


def test_its_address_is_a_host_with_or_without_a_port() -> None:
    with pytest.raises(ConfigError, match="SPAMD_HOST"):
        Spamd("spam:assassin")
