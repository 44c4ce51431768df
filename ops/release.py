"""Gives a new revision of each changed step its traffic in stages, and takes it back when a check fails.

Between `terraform plan` and `terraform apply`, because a function that follows its latest revision gives it everything at once:

    python -m ops release changed PLAN.json     which functions an update would touch, for -var hold=…
    python -m ops release settings PLAN.json    what Terraform knows and the other commands need, as lines for a shell
    python -m ops release pin --steps '["record"]' --file build/release.json
                                                their traffic stays where it is, by the revision's name; the file remembers

and after it:

    python -m ops release shift --file build/release.json     0, 10, 50, 100%, smoke checks after each; else everything goes back
    python -m ops release rollback --file build/release.json  the same by hand, also after a crash; again is harmless

The file of an interrupted release may be lost with its machine. `pin --force` then begins anew from the services themselves: of a
split, the revision that is not tagged `candidate` counts as serving, and gets everything. A tag that is left at 0% is no split.
"""

from __future__ import annotations

import asyncio
import json
import math
import shlex
import signal
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from local.steps import PUBLIC
from ops.cloud_run import CANDIDATE, LATEST, CloudRun, Overtaken, Service, Target
from shared.adapters.embedded import put
from shared.errors import BadInput, NotFound

STAGES = (10, 50, 100)  # percent
MISSED = 0.01  # how probable it may be that no request of a stage's checks meets the candidate
NEW, QUIET, LOOK = 300.0, 15.0, 3.0  # seconds: for a new revision to be ready, for one to appear, between two looks
_FUNCTION = "google_cloudfunctions2_function"
State = Literal["pinned", "shifting", "done", "rolled back"]
Say = Callable[[str], None]
Sleep = Callable[[float], Awaitable[None]]


class Stopped(Exception):
    """A release does not go on; the message is the sentence to print."""


class Checks(Protocol):
    """What `ops.smoke.Smoke` does."""

    async def passed(self, samples: int = 1, mail: bool = True) -> bool: ...
    async def tagged(self, url: str) -> bool: ...


# --- what Terraform plans ---------------------------------------------------------------------------------------------


def changed(plan: Mapping[str, Any]) -> list[str]:
    """The steps whose function is updated in place, sorted, from `terraform show -json`; raises BadInput.

    One that was held at the last release is among them even when its files are the same: without hold, its flag would turn back.
    So what an interrupted release has left waiting is shifted by the next one.
    """
    try:
        touched = [
            one["change"]["before"]["name"]
            for one in plan.get("resource_changes", ())
            if one["type"] == _FUNCTION and one["change"]["actions"] == ["update"]
        ]
        plan["format_version"]
    except (KeyError, TypeError, AttributeError):
        raise BadInput("This is not the output of terraform show -json.") from None
    return sorted({name.replace("-", "_") for name in touched})


def settings(plan: Mapping[str, Any]) -> list[str]:
    """`export NAME=value` for each setting that the commands read, from `terraform show -json`; raises BadInput."""
    try:
        given = {name: one.get("value") for name, one in plan["variables"].items()}
        known = {name: one["value"] for name, one in plan["planned_values"]["outputs"].items() if "value" in one}
        paused = given["paused"] in (True, "true")  # then nothing is sent, also to us
        found = {
            "STACK": "google",
            "GOOGLE_CLOUD_PROJECT": given["project"],
            "REGIONS": json.dumps(given["regions"]),
            "TENANT": given["tenant"],
            "FIRESTORE_DATABASE": given["firestore_database"],
            "SMOKE_ADDRESS": "" if paused else given.get("smoke_address") or "",
            "PUBLIC_URL": known["public_url"],
            "ENDPOINTS": json.dumps(known["endpoints"]),
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"The plan does not tell {error}.") from None
    return [f"export {name}={shlex.quote(str(value))}" for name, value in found.items()]


def read_plan(file: Path) -> dict[str, Any]:
    """Raises BadInput."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise BadInput(f"{file} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise BadInput("This is not the output of terraform show -json.")
    return found


def words(text: str) -> list[str]:
    """A list written as JSON or with commas."""
    try:
        found = json.loads(text) if text.startswith("[") else [word.strip() for word in text.split(",") if word.strip()]
    except ValueError:
        found = [None]
    if not all(isinstance(word, str) and word for word in found):
        raise BadInput(f"Not a list of names: {text}")
    return found


# --- what is remembered -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Held:
    """One service of a release: its full name, and the short name of the revision that served before."""

    name: str
    revision: str

    def __str__(self) -> str:
        _, _, _, region, _, service = self.name.split("/")
        return f"{service} ({region})"


@dataclass(frozen=True)
class Record:
    """A release, as its file has it. The file is there before the first service is touched, and is replaced in one go."""

    state: State
    services: tuple[Held, ...]

    def save(self, file: Path) -> None:
        """Raises OSError."""
        put(file, json.dumps(asdict(self), indent=2).encode())

    @classmethod
    def load(cls, file: Path) -> Record:
        """Raises BadInput."""
        try:
            found = json.loads(file.read_bytes())
            return cls(found["state"], tuple(Held(**one) for one in found["services"]))
        except FileNotFoundError:
            raise BadInput(f"{file} is not there: begin with release pin.") from None
        except (OSError, ValueError, KeyError, TypeError):
            raise BadInput(f"{file} is not the file of a release.") from None


# --- what is done -----------------------------------------------------------------------------------------------------


@dataclass
class Release:
    """The three acts. `say` gets a line for whatever is done; `patience`: seconds for a new revision to become ready."""

    cloud: CloudRun
    file: Path
    say: Say
    sleep: Sleep = asyncio.sleep
    patience: float = NEW

    async def pin(self, project: str, regions: Sequence[str], steps: Iterable[str], force: bool = False) -> None:
        """Pin each service of these steps to its serving revision. Raises Stopped (nothing was changed), PipelineError."""
        steps, file = list(steps), shlex.quote(str(self.file))
        named = (
            f"--steps {shlex.quote(','.join(steps))} --regions {shlex.quote(','.join(regions))} --project {shlex.quote(project)}"
        )
        anew = f"python -m ops release pin --force {named} --file {file}"
        if not force and self.file.exists() and Record.load(self.file).state in ("pinned", "shifting"):
            back = f"python -m ops release rollback --file {file}"
            raise Stopped(f"{self.file} is of a release that has not ended. Roll it back: {back} Or forget it: {anew}")
        names = [
            f"projects/{project}/locations/{region}/services/{step.replace('_', '-')}"
            for step in steps
            for region in (regions if step in PUBLIC else regions[:1])  # as in terraform/functions.tf
        ]
        found = [service for service in await _together(self._known(name) for name in names) if service]
        split = [str(Held(service.name, "")) for service in found if service.split]
        if split and not force:
            what = f"{', '.join(split)}: traffic is split, so another release has not ended."
            raise Stopped(f"{what} This gives everything to what served before it: {anew}")
        record = Record("pinned", tuple(Held(service.name, service.serving) for service in found))
        record.save(self.file)
        await _together(self._back(held, "is pinned to", "was pinned to") for held in record.services)

    async def _known(self, name: str) -> Service | None:
        try:
            return await self.cloud.get(name)
        except NotFound:
            self.say(f"{Held(name, '')} is not there yet: nothing to hold back.")
            return None

    async def _back(self, held: Held, done: str, known: str) -> None:
        wrote = await self.cloud.route(held.name, [Target(held.revision, 100)])
        self.say(f"{held} {done if wrote else known} {held.revision}, 100%.")

    async def rollback(self) -> None:
        """Give everything to the recorded revisions. Raises Stopped when that fails for some; the others are back then."""
        record = Record.load(self.file)
        acts = [self._back(held, "is back on", "has stayed on") for held in record.services]
        found = await asyncio.gather(*acts, return_exceptions=True)
        failed = [(held, error) for held, error in zip(record.services, found, strict=True) if error]
        for held, error in failed:
            self.say(f"{held} is NOT back on {held.revision}: {error}")
        if failed:
            raise Stopped(f"Not everything is back: python -m ops release rollback --file {self.file} tries again.")
        replace(record, state="rolled back").save(self.file)

    async def shift(self, checks: Checks) -> None:
        """The stages. Raises Stopped after everything went back to the recorded revisions, or could not; also when the release is
        done, but a service stays on the revision that was checked, because it has got another one meanwhile."""
        record = Record.load(self.file)
        if record.state != "pinned":
            raise Stopped(f"{self.file} is of a release that is {record.state}: begin with release pin.")
        try:
            with _told_to_stop(self.say):
                kept = await self._stages(record, checks)
        except asyncio.CancelledError:
            why = "It was told to stop."
        except Exception as error:  # whatever it is, readers come first
            why = str(error) or type(error).__name__
        else:
            if kept:
                raise Stopped(f"Another deployment happened meanwhile, which nobody has checked: {', '.join(kept)}.")
            return
        self.say(f"{why} Everything goes back.")
        await self.rollback()
        raise Stopped("Rolled back." if record.services else "There was nothing to roll back.")

    async def _stages(self, record: Record, checks: Checks) -> list[str]:
        """Returns what was not handed over, and where it is."""
        replace(record, state="shifting").save(self.file)
        found = await _together(self._candidate(held) for held in record.services)
        moving = {held: service.ready for held, service in zip(record.services, found, strict=True) if _waits(service, held)}
        if moving:
            await self._stage(moving, 0)
            await self._tagged(moving, checks)
        for percent in STAGES if moving else STAGES[-1:]:
            await self._stage(moving, percent)
            samples = 1 if percent == 100 else math.ceil(math.log(MISSED) / math.log(1 - percent / 100))
            if not await checks.passed(samples, mail=percent == 100):
                raise Stopped(f"A smoke check failed at {percent}%.")
        handed = await _together(self._hand_over(held, then) for held, then in zip(record.services, found, strict=True))
        kept = [sentence for sentence in handed if sentence]
        replace(record, state="done").save(self.file)
        if not kept:
            self.say("Done: every service follows its latest revision." if record.services else "Nothing was held back.")
        return kept

    async def _hand_over(self, held: Held, checked: Service) -> str:
        """Let the service follow its latest revision; when that is not the checked one any more, it stays on that one, by name, and
        the sentence says so."""
        try:
            await self.cloud.route(held.name, LATEST, since=checked)
        except Overtaken:
            await self.cloud.route(held.name, [Target(checked.ready, 100)])
            return f"{held} stays on {checked.ready}, 100%"
        return ""

    async def _candidate(self, held: Held) -> Service:
        """The service, once its new revision is ready; when there is nothing to shift, that is said plainly."""
        waited = 0.0
        while not (service := await self.cloud.get(held.name)).settled or service.ready == held.revision:
            if waited >= (min(QUIET, self.patience) if service.settled and service.created == held.revision else self.patience):
                break
            await self.sleep(LOOK)
            waited += LOOK
        if service.ready == held.revision:
            if service.created != held.revision:
                raise Stopped(f"{held}: {service.created} did not become ready within {self.patience:.0f} s.")
            self.say(f"{held} got no new revision: nothing to shift.")
        elif not service.shares.get(held.revision):
            self.say(f"{held}: {service.ready} has all traffic already, it was not held back. It is checked as it is.")
        return service

    async def _stage(self, moving: Mapping[Held, str], percent: int) -> None:
        def targets(held: Held, candidate: str) -> list[Target]:
            old = [Target(held.revision, 100 - percent)] if percent < 100 else []
            return [*old, Target(candidate, percent, CANDIDATE)]

        await _together(self.cloud.route(held.name, targets(held, candidate)) for held, candidate in moving.items())
        if moving:
            self.say(f"{percent}%: {', '.join(f'{held} {candidate}' for held, candidate in moving.items())}")

    async def _tagged(self, moving: Mapping[Held, str], checks: Checks) -> None:
        for held in moving:
            if held.name.endswith("/subscribe"):
                service = await self.cloud.get(held.name)
                _, url = service.tags.get(CANDIDATE, ("", ""))
                if not service.reachable or not url:
                    self.say(f"left out  health of the candidate: {held} is not reachable at its own URL.")
                elif not await checks.tagged(url):
                    raise Stopped("The candidate is not healthy, and had no traffic yet.")


def _waits(service: Service, held: Held) -> bool:
    """Whether it has a ready revision that was not recorded and waits for traffic."""
    return service.ready != held.revision and bool(service.shares.get(held.revision))


async def _together(acts: Iterable[Awaitable[Any]]) -> list[Any]:
    """All at once, each to its end; raises the first error."""
    found = await asyncio.gather(*acts, return_exceptions=True)
    for error in found:
        if isinstance(error, BaseException):
            raise error
    return found


@contextmanager
def _told_to_stop(say: Say) -> Iterator[None]:
    """SIGTERM and Ctrl-C cancel what runs in here, once; what comes after is not interrupted."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    told: list[bool] = []

    def stop() -> None:
        if told:
            say("Everything is going back already.")
        else:
            told.append(True)
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        yield
    except asyncio.CancelledError:
        task.uncancel()
        raise
