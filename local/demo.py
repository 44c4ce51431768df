"""The product's main job, end to end, on real input: drives a twin that runs as a process of its own, as people and programs would.

Every step can be done again, so RESUME=1 continues after a crash of either process: what the product knows decides what is left to do.
"""

from __future__ import annotations

import asyncio
import base64
import csv
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from local import audit, played, report, seed, stacks
from local.cast import BROWSER, Cast, Stuck, links
from local.environments import Broken
from local.issuer import LocalIssuer
from local.server import ISSUER, PUSHER
from local.steps import STEPS
from shared import config
from shared.adapters.embedded import FileClock
from shared.errors import Unavailable
from shared.model import campaign as campaigns
from shared.model import console as tabs
from shared.model.address import canonical_v1, sid_of
from shared.model.event import Event
from shared.model.face import SignUp
from shared.model.paths import Paths
from shared.model.ref import MailRef
from shared.stack.store import open_store

CONTACTS = Path(__file__).parent / "demo_contacts.csv"
VISITOR = "mira@example.org"
FIRST, SECOND = "C-0001", "C-0002"
EDIT = "HarvestMarket2026"
READING = 60_000  # ms on the twin's clock from delivery to the first reader
SOON = 6.0  # seconds, where the clock is the machine's: who reads sooner is taken for a machine
PATIENCE = 180.0  # seconds without any progress before the demo gives up
WANTED = tabs.ROW_FIELDS.index("Wanted") + 1


class Demo:
    """One drive. `state` is the demo's folder; `url` the address of the twin, which answers by now."""

    def __init__(
        self, state: Path, url: str, session: aiohttp.ClientSession, out: Console, twin: subprocess.Popen[bytes]
    ) -> None:
        self.state, self.url, self.session, self.out, self.twin = state, url, session, out, twin
        told = json.loads((state / "twin.json").read_text())
        self.settings: dict[str, str] = told["settings"]
        self.store = open_store(config.load(config.Base, self.settings))
        self.endpoints: dict[str, str] = told["endpoints"]
        self.paths = Paths("local")
        self.contacts = list(csv.DictReader(CONTACTS.open(encoding="utf-8", newline="")))
        people = [self.sid(contact["Email"]) for contact in self.contacts if contact["Expect"] == "imported"]
        self.cast = Cast(session, url, people, played.Played())
        self.forged: dict[str, int] = {}
        self.trespasses: tuple[list[int], bool] = ([], False)  # answers, whether something changed

    # --- calls

    async def get(self, url: str, **options: Any) -> tuple[int, bytes]:
        async with self.session.get(url, **{"headers": BROWSER, "allow_redirects": False, **options}) as answer:
            return answer.status, await answer.read()

    async def post(self, url: str, **options: Any) -> tuple[int, bytes]:
        async with self.session.post(url, **{"headers": BROWSER, **options}) as answer:
            return answer.status, await answer.read()

    async def mails(self, address: str) -> list[dict[str, Any]]:
        """The mails to one address, newest first, with their text."""
        _, body = await self.get(f"{self.url}/mailbox.json", params={"rcpt": address})
        return list(json.loads(body)["mails"])

    async def cells(self, tab: str) -> list[list[str]]:
        _, body = await self.get(f"{self.url}/v4/spreadsheets/{seed.SHEET}/values/'{tab}'!A1:Z")
        return list(json.loads(body).get("values", []))

    async def row(self, number: int, **fields: str) -> None:
        """Type into a row of the Campaigns tab, as the grid does."""
        typed = [[number, tabs.ROW_FIELDS.index(name) + 1, text] for name, text in fields.items()]
        status, body = await self.post(f"{self.url}/sheet/edit", json={"tab": tabs.CAMPAIGNS, "cells": typed})
        if status != 200:
            raise Stuck(f"the Sheet refused an edit: {body.decode()}")

    async def until(self, what: str, done: Callable[[], Awaitable[tuple[int, int]]]) -> None:
        await _until(self.out, self.twin, what, done)

    # --- the story

    async def import_contacts(self) -> None:
        """Paste the file into the Import tab; wait for one answer per row."""
        fields = tabs.IMPORT_FIELDS[1:]
        rows = [[contact[name] for name in fields] for contact in self.contacts]
        await self.until("The Sheet is ready", self._tab_ready)
        body = {"valueInputOption": "RAW", "data": [{"range": f"{tabs.IMPORT}!B2", "values": rows}]}
        status, answer = await self.post(f"{self.url}/v4/spreadsheets/{seed.SHEET}/values:batchUpdate", json=body)
        if status != 200:
            raise Stuck(f"the contacts could not be pasted: {answer.decode()}")
        await self.until("Import: one answer per row", self._answered)

    async def _tab_ready(self) -> tuple[int, int]:
        _, body = await self.get(f"{self.url}/v4/spreadsheets/{seed.SHEET}/values/{tabs.IMPORT}!A1:G1002")
        rows = json.loads(body).get("values", [])
        return int(len(rows) > 1000), 1

    async def _answered(self) -> tuple[int, int]:
        return len(await self.answers()), len(self.contacts)

    async def answers(self) -> dict[str, str]:
        """Row id -> the answer in the Import tab."""
        rows = await self.cells(tabs.IMPORT)
        return {row[0]: row[6] for row in rows[1:] if len(row) > 6 and row[6]}

    async def sign_up(self) -> None:
        """Sign up by the form and confirm with the link found in the mail; looking at the link changes nothing."""
        if not await self.mails(VISITOR):
            _, page = await self.get(f"{self.url}/subscribe")
            proof = re.findall(rb'name="form" value="([^"]+)"', page)
            await asyncio.sleep(SignUp().fill + 1)  # as long as a person takes at least
            fields = {"email": VISITOR, "name": "Mira", "form": proof[0].decode() if proof else ""}
            status, page = await self.post(f"{self.url}/subscribe", data=fields)
            if status != 200 or b"Check your mail" not in page:
                raise Stuck(f"the sign-up was not taken, and answered {status}")
        await self.until("Sign-up: the confirmation arrives", lambda: self._mail_count(VISITOR, 1))
        await self.calm("Sign-up: its events are recorded")
        mail = (await self.mails(VISITOR))[-1]
        [link] = set(re.findall(r"http://[^\s>]+/subscribe/confirm/[^\s>]+", mail["text"]))
        path = self.paths.subscriber(self.sid(VISITOR))
        before = await self.store.get(path)
        for _ in range(2):
            await self.get(link)
        after = await self.store.get(path)
        if before is None or after is None or before.version != after.version:
            raise Stuck("a GET of the confirmation link changed something")
        status, _ = await self.post(link)
        if status != 200:
            raise Stuck(f"the confirmation was answered {status}")
        await self.until("Sign-up: the welcome arrives", lambda: self._mail_count(VISITOR, 2))

    async def _mail_count(self, address: str, want: int) -> tuple[int, int]:
        return min(len(await self.mails(address)), want), want

    async def campaign(self, id: str, **fields: str) -> None:
        """Choose Go in the row; follow the ledger to the end."""
        number = int(id.removeprefix("C-")) + 1
        known = await self.store.get(self.paths.campaign(id))
        if known is None or known.data["state"] in ("draft", "scheduled"):
            await self.row(number, **fields, Wanted="Go")
        await self.until(f"{id} {fields['Name']}", lambda: self._progress(id))
        await self.until(f"{id} is completed", lambda: self._completed(id))

    async def first_campaign(self) -> None:
        """Its mails are looked into by gateways while others are still on their way."""
        over = asyncio.Event()
        gateways = asyncio.create_task(self.cast.gateways(self.state, await audit.reader(self.state), FIRST, over))
        try:
            await self.campaign(FIRST, Name="First harvest", Template="newsletter")
            over.set()
            await gateways
        finally:
            gateways.cancel()

    async def _progress(self, id: str) -> tuple[int, int]:
        plan = await self.store.get(self.paths.campaign(id))
        if plan is None or "expected" not in plan.data:
            if plan and plan.data["state"] == "draft" and plan.data.get("answer"):
                raise Stuck(f"{id}: {plan.data['answer']}")
            return 0, 0
        counts = await campaigns.progress(self.store, self.paths, id)
        done = counts["recipients"] - counts["handed"] - counts["deferred"]
        return done, plan.data["expected"] if plan.data["state"] == "running" else done

    async def _completed(self, id: str) -> tuple[int, int]:
        """Completed, and every mail that the mailbox holds is known to have been sent. What a crash left `unknown` and the mailbox
        never got stays so."""
        plan = await self.store.get(self.paths.campaign(id))
        if plan is None or plan.data["state"] != "completed":
            return 0, 1
        return int(plan.data["totals"]["sent"] == len(self.ours(id))), 1

    async def play(self) -> None:
        """What happens to the first campaign's mails: robots, a minute later people and robots, servers; then forgeries."""
        self.cast.mails = {mail.sid: mail for mail in await audit.mailed(self.state) if mail.campaign == FIRST}
        await self.cast.robots()
        if self.settings["STACK"] == "embedded":
            FileClock(self.state / "clock").advance(READING)
        else:
            await asyncio.sleep(SOON)
        await self.cast.late_robots()
        await self.cast.people()
        await self.forge()
        await self.trespass()
        await self.cast.leave()
        await self.cast.servers()
        await self.calm("Hits, bounces, complaints recorded")
        for line in self.cast.played.told():
            self.out.print(f"  {line}", soft_wrap=True)

    async def forge(self) -> None:
        """A click whose proof is not ours, and a push."""
        click = links(self.ours(FIRST)[0], "/track/k/")[0]
        self.forged["click"], _ = await self.get(f"{click[:-4]}AAAA")
        envelope = {"message": {"data": "e30=", "messageId": "1"}, "subscription": "forged"}
        self.forged["push"], _ = await self.post(
            f"{self.url}/send_batch", json=envelope, headers={"authorization": "Bearer forged"}
        )

    async def trespass(self) -> None:
        """A complaint in a reader's name, pushed straight to `record`: without a token, and with one of another issuer's key."""
        mail = MailRef(FIRST, self.cast.sids[0])
        event = json.dumps(Event("complained", mail.text, 1).to_message())
        envelope = {"message": {"data": base64.b64encode(event.encode()).decode(), "messageId": "1"}, "subscription": "record"}
        with TemporaryDirectory() as folder:
            forged = LocalIssuer(Path(folder), ISSUER).sign(self.url, PUSHER)
        answers = [
            (await self.post(self.endpoints["record"], json=envelope, headers=headers))[0]
            for headers in ({}, {"authorization": f"Bearer {forged}"})
        ]
        delivery = await self.store.get(self.paths.delivery(FIRST, mail.delivery))
        suppressed = await self.store.get(self.paths.suppression(mail.sid))
        self.trespasses = answers, suppressed is not None or bool(delivery and "complained" in delivery.data["labels"])

    def edit_template(self) -> None:
        """Change the file on disk, with any editor."""
        file = self.state / seed.FOLDER / "newsletter.md"
        text = file.read_text(encoding="utf-8")
        if EDIT not in text:
            file.write_text(f"{text}\nMeet us at {EDIT}, row 7.\n", encoding="utf-8")

    async def calm(self, what: str) -> None:
        """Wait until the bus has had nothing under way for a second."""
        calm = 0

        async def empty() -> tuple[int, int]:
            nonlocal calm
            _, body = await self.get(f"{self.url}/status.json")
            calm = 0 if sum(json.loads(body)["pending"].values()) else calm + 1
            return int(calm > 4), 1

        await self.until(what, empty)

    async def quiet(self) -> None:
        """Wait until all is recorded, and the Sheet shows the last of it."""
        await self.calm("All events are recorded")
        await self.post(f"{self.url}/tick")

    # --- helpers

    def sid(self, address: str) -> str:
        secret = json.loads((self.state / "secrets" / "pepper.json").read_text())
        return sid_of(bytes.fromhex(secret[0]["value"]), "local", canonical_v1(address))

    def ours(self, campaign: str) -> list[bytes]:
        """The sources of a campaign's mails in the mailbox, in the order of their recipients."""
        return audit.sources(self.state, campaign)


async def main(state: Path, resume: bool, smtp_delay: int, stack: stacks.Name) -> int:
    """Run the demo; the exit status. 0 only when every check of the audit holds."""
    out = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    started = time.monotonic()
    if resume and stack == "emulators":
        out.print("The emulators keep nothing, so there is nothing to continue: make demo STACK=emulators starts anew.")
        return 1
    try:
        stacks.prepare(stack, STEPS, out)
    except Broken as error:
        out.print(str(error), markup=False, soft_wrap=True)
        return 1
    if not resume:
        shutil.rmtree(state, ignore_errors=True)
    else:
        out.print(f"Continuing in {state}.")
    port = _port(state)
    twin = _start(state, port, smtp_delay, stack)
    try:
        findings, found = await _drive(state, f"http://127.0.0.1:{port}", out, twin, stack)
    except (Stuck, Unavailable, aiohttp.ClientError, TimeoutError, ConnectionError) as error:
        gone = twin.poll() is not None
        what = f"The twin stopped (exit {twin.returncode})" if gone else str(error) or type(error).__name__
        logs = f"The twin's log is {state / 'twin.log'}" + ("; each step's is beside it." if stack == "emulators" else "")
        hint = "; RESUME=1 make demo continues." if stack == "embedded" else ""
        out.print(f"[red]Stopped:[/] {what}. {logs}{hint}")
        return 1
    finally:
        _end(twin)
    report.finish(findings, found, started)
    audit.write(findings, state.parent / "demo.json")
    around = f"Look around in it: make run STATE={state} PORT={port}"
    if stack == "emulators":
        around = "The emulators have ended, and kept nothing."
    report.show(findings, found, out, f"Figures: {state.parent / 'demo.json'}. {around}")
    return 1 if findings.faults else 0


async def _drive(
    state: Path, url: str, out: Console, twin: subprocess.Popen[bytes], stack: stacks.Name
) -> tuple[audit.Findings, dict[str, Any]]:
    """The story, and the audit while the twin is still there: emulators forget everything when they end."""
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        await _until(out, twin, "The twin answers", lambda: _answers(session, url))
        demo = Demo(state, url, session, out, twin)
        await demo.import_contacts()
        await demo.sign_up()
        await demo.first_campaign()
        await demo.play()
        demo.edit_template()
        await demo.campaign(SECOND, Name="Second harvest", Template="newsletter", Segment="everyone")
        await demo.quiet()
        answers = await demo.answers()
        shown = {tab: await demo.cells(tab) for tab in (tabs.CAMPAIGNS, tabs.DASHBOARD)}
        names, parts = (FIRST, SECOND), demo.cast.played
        findings = await audit.audit(demo.store, state, stack, names, parts.left, EDIT)
        findings.totals["played"] = parts.figures()
        mails = await audit.mailed(state)
        await played.check(findings, demo.store, demo.paths, parts, names, mails, shown[tabs.DASHBOARD])
    found = {"answers": answers, "tabs": shown, "contacts": demo.contacts, "forged": demo.forged, "trespasses": demo.trespasses}
    return findings, found


# --- the twin as a process


def _port(state: Path) -> int:
    """The links in mails hold the port, so a resumed demo keeps the one it had."""
    file = state / "port"
    if file.exists():
        return int(file.read_text())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    state.mkdir(parents=True, exist_ok=True)
    file.write_text(str(port))
    return port


def _start(state: Path, port: int, smtp_delay: int, stack: stacks.Name) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "local", "run", "--state", str(state), "--port", str(port), "--tick", "1", "--until-eof"]
    environ = {**os.environ, "TWIN_SMTP_DELAY_MS": str(smtp_delay), "STACK": stack}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environ)


def _end(twin: subprocess.Popen[bytes]) -> None:
    if twin.stdin:
        twin.stdin.close()
    try:
        twin.wait(30)
    except subprocess.TimeoutExpired:
        twin.kill()
        twin.wait()


async def _answers(session: aiohttp.ClientSession, url: str) -> tuple[int, int]:
    """Whether every dependency of the sign-up page is there: a matter of seconds, with emulators of half a minute or, on a busy machine, of
    minutes, while a step waits for the store."""
    try:
        async with session.get(f"{url}/subscribe/health", timeout=aiohttp.ClientTimeout(total=10)) as answer:
            return int(answer.status == 200), 1
    except (aiohttp.ClientError, TimeoutError):
        return 0, 1


async def _until(out: Console, twin: subprocess.Popen[bytes], what: str, done: Callable[[], Awaitable[tuple[int, int]]]) -> None:
    """Show a bar until `done` returns (n, n); progress of any size renews the patience. Raises Stuck."""
    columns = (TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out) as bar:
        task, best, since = bar.add_task(what, total=None), -1, time.monotonic()
        while True:
            have, want = await done()
            bar.update(task, completed=have, total=want or None)
            if want and have >= want:
                return
            if twin.poll() is not None:
                raise Stuck("the twin is gone")
            if have > best:
                best, since = have, time.monotonic()
            if time.monotonic() - since > PATIENCE:
                raise Stuck(f"{what}: {have} of {want} after {PATIENCE:.0f} s without progress")
            await asyncio.sleep(0.25)
