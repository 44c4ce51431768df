"""What SpamAssassin says of a mail, asked over spamd's own protocol
(https://svn.apache.org/repos/asf/spamassassin/trunk/spamd/PROTOCOL).

A client of our own, since aiospamc brings a command line and a logger, and holds typer below the version the twin runs on.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.errors import ConfigError, Unavailable

from .preflight_report import SHOWN, Report

LIMIT = 5.0  # points: SpamAssassin's default `required_score`
NEAR = 3.0
MAX_MAIL = 500 * 1024  # bytes: spamc, too, sends no larger ones
_MAX_ANSWER = 256 * 1024
_PORT = 783
_SCORE = re.compile(r"^Spam: *(?:True|False|Yes|No) *; *(-?[\d.]+) */", re.I | re.M)
_RULE = re.compile(r" *(-?\d+(?:\.\d+)?) +([A-Z][A-Z0-9_]+) +(\S.*)")
_PREFIX = re.compile(r"^(?:BODY|RAW|URI|HEADER|FULL|META): *")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that a mail met, and what it adds to the score."""

    points: float
    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Verdict:
    score: float
    rules: Sequence[Rule] = ()


class Spam(Protocol):
    """Scores a mail."""

    async def score(self, mail: bytes) -> Verdict:
        """`mail` in wire form. Raises Unavailable."""
        ...


class Spamd:
    """A spamd at "host" or "host:port" (setting SPAMD_HOST)."""

    def __init__(self, address: str) -> None:
        host, colon, port = address.rpartition(":")
        if colon and not port.isdecimal():
            raise ConfigError("SPAMD_HOST must be a host or host:port")
        self._host, self._port = (host, int(port)) if colon else (address, _PORT)

    async def score(self, mail: bytes) -> Verdict:
        """See `Spam.score`. Waits as long as spamd does: the caller bounds it."""
        try:
            reader, writer = await asyncio.open_connection(self._host, self._port)
            try:
                writer.write(b"REPORT SPAMC/1.5\r\nContent-length: %d\r\n\r\n" % len(mail) + mail)
                writer.write_eof()
                answer = bytearray()
                while len(answer) < _MAX_ANSWER and (piece := await reader.read(65_536)):
                    answer += piece
            finally:
                writer.close()
        except OSError as error:
            raise Unavailable("SpamAssassin", type(error).__name__) from None
        return read(bytes(answer))


def read(answer: bytes) -> Verdict:
    """The verdict in spamd's answer to REPORT; raises Unavailable when it holds none."""
    head, _, report = answer.decode("utf-8", "replace").replace("\r\n", "\n").partition("\n\n")
    status, score = head.split("\n")[0].split(" "), _SCORE.search(head)
    if len(status) < 2 or not status[0].startswith("SPAMD/") or status[1] != "0" or score is None:
        raise Unavailable("SpamAssassin", head.split("\n")[0][:80])
    return Verdict(float(score[1]), _rules(report))


def _rules(report: str) -> list[Rule]:
    """The table at the end of a report: points, name, and a description that may go on in the next lines."""
    rules: list[Rule] = []
    for line in report.rpartition("\n---- ")[2].split("\n")[1:]:
        if match := _RULE.fullmatch(line):
            rules.append(Rule(float(match[1]), match[2], _PREFIX.sub("", match[3].strip())))
        elif rules and line.startswith(" ") and line.strip():
            last = rules[-1]
            rules[-1] = Rule(last.points, last.name, f"{last.description} {line.strip()}")
    return rules


def judge(verdict: Verdict) -> Report:
    """A fault from 5 points, where most servers take a mail for spam; a warning from 3."""
    if verdict.score < NEAR:
        return Report()
    worst = sorted((rule for rule in verdict.rules if rule.points > 0), key=lambda rule: -rule.points)[:SHOWN]
    reasons = "; ".join(f"{rule.description.rstrip('.')} ({rule.name}, {rule.points:g})" for rule in worst)
    change = f" Change what counts most: {reasons}." if reasons else " Reword it."
    if verdict.score >= LIMIT:
        return Report(faults=[f"SpamAssassin gives this mail {verdict.score:g} points, and from {LIMIT:g} it is spam.{change}"])
    return Report(warnings=[f"SpamAssassin gives this mail {verdict.score:g} points; from {LIMIT:g} it is spam.{change}"])
