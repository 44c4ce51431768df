"""The sides of the comparison: each sends the letter to a list of recipients over one connection, in a process of its own, and says
what CPU that took (user and system, all threads). All of them into the same sink.

smtp-source, which is C, makes no mail: it sends one finished mail again and again, over one connection (`-d`), as its only work.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench import letter
from bench.sink import Sink
from shared.mail.compile import Recipient

from . import given, plain_smtplib, tools
from .tools import Missing, Program

PATH, SMTPLIB, NODEMAILER, GO, SOURCE = "ours", "EmailMessage + smtplib", "nodemailer (pool)", "Go net/smtp", "smtp-source (C)"
MAILS: Mapping[str, int] = {
    PATH: 5_000,
    SMTPLIB: 400,
    NODEMAILER: 1_500,
    GO: 4_000,
    SOURCE: 5_000,
}  # a round: 0.5 to 3 s of CPU each


class Side(Protocol):
    """One way of sending."""

    def check(self, folder: Path) -> None:
        """Raises AssertionError when its mails are not those that we send."""
        ...

    def run(self, folder: Path, sink: Sink) -> float:
        """µs of CPU a mail. Raises AssertionError when a mail did not arrive, or twice."""
        ...


@dataclass(frozen=True)
class Module:
    """A side in Python, of this package."""

    module: str
    mails: int

    def check(self, folder: Path) -> None:
        peer = plain_smtplib.build()
        for recipient, ours in _ours():
            letter.same(ours, peer.build(recipient).as_bytes(), self.module)

    def run(self, folder: Path, sink: Sink) -> float:
        return _run(Program([sys.executable, "-m", f"{__package__}.{self.module}"]), folder, sink, self.mails)


@dataclass(frozen=True)
class Foreign:
    """A side in another language: a program that takes FOLDER PORT COUNT, or FOLDER "check" COUNT."""

    program: Program
    mails: int

    def check(self, folder: Path) -> None:
        ours = _ours()
        subprocess.run([*self.program.command, str(folder), "check", str(len(ours))], env=self.program.environ, check=True)
        for n, (_, mine) in enumerate(ours):
            letter.same(mine, (folder / f"{n}.eml").read_bytes(), Path(self.program.command[-1]).name)

    def run(self, folder: Path, sink: Sink) -> float:
        return _run(self.program, folder, sink, self.mails)


@dataclass(frozen=True)
class SmtpSource:
    """Postfix's load generator, with the bytes of one mail of ours. `-N` numbers the recipients."""

    program: Program
    mails: int

    def check(self, folder: Path) -> None:
        _, mail = _ours()[0]
        (folder / "letter.eml").write_bytes(mail.replace(b"\r\n", b"\n"))  # it puts CR and dots in itself, once

    def run(self, folder: Path, sink: Sink) -> float:
        sender = ["-f", letter.IDENTITY.from_address, "-t", "reader@example.com", "-M", "localhost"]
        load = ["-s", "1", "-r", "1", "-d", "-N", "-m", str(self.mails), "-F", str(folder / "letter.eml")]
        process = subprocess.Popen([*self.program.command, *sender, *load, f"127.0.0.1:{sink.port}"], env=self.program.environ)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise AssertionError(f"smtp-source ended with {process.returncode}")
        size, ours = sink.expect(self.mails)["bytes"] // self.mails, len(_ours()[0][1])
        if size != ours + len(b"\r\n"):  # it ends with an empty line
            raise AssertionError(f"smtp-source sends mails of {size} bytes, ours have {ours}")
        return 1e6 * (used.ru_utime + used.ru_stime) / self.mails


def available(left_out: Callable[[str], None]) -> dict[str, Side]:
    """Every side that can be had here; `left_out` gets a sentence about each that cannot."""
    found: dict[str, Side] = {PATH: Module("ours", MAILS[PATH]), SMTPLIB: Module("plain_smtplib", MAILS[SMTPLIB])}
    makers: dict[str, Callable[[], Side]] = {
        NODEMAILER: lambda: Foreign(tools.nodemailer(), MAILS[NODEMAILER]),
        GO: lambda: Foreign(tools.net_smtp(), MAILS[GO]),
        SOURCE: lambda: SmtpSource(tools.smtp_source(), MAILS[SOURCE]),
    }
    for name, make in makers.items():
        try:
            found[name] = make()
        except Missing as error:
            left_out(f"{name} is left out: {error}.")
    return found


def _run(program: Program, folder: Path, sink: Sink, mails: int) -> float:
    command = [*program.command, str(folder), str(sink.port), str(mails)]
    done = subprocess.run(command, env=program.environ, stdout=subprocess.PIPE, text=True, check=True)
    sink.expect(mails + given.WARM)
    return 1e6 * float(done.stdout) / mails


def _ours() -> Sequence[tuple[Recipient, bytes]]:
    mail = given.compiled(given.links())
    return [(one, mail.splice(one, letter.DATE)) for one in given.samples()]
