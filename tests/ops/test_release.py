"""A release by revisions: nothing unwatched gets traffic, and whatever goes wrong, readers are back where they were."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web

from local.google.cloud_run import LATEST, REVISION, CloudRunDouble, Service, cloud_run
from local.steps import STEPS
from ops.cloud_run import CloudRun, Failed, Target
from ops.rehearse import scripts
from ops.release import Record, Release, Stopped, changed, settings, words
from ops.smoke import SignUp, Smoke
from shared.errors import BadInput, Unavailable

from .product import Product, product

pytestmark = pytest.mark.network
REPO = Path(__file__).parents[2]
PROJECT, HERE, THERE = "lumen-mail", "europe-west1", "us-east1"


class Mail:
    """In the place of the sign-up: counts."""

    def __init__(self, double: CloudRunDouble) -> None:
        self.double = double
        self.seen: list[dict[str, int]] = []

    async def check(self, send: object) -> str:
        self.seen.append(next(iter(self.double.services.values())).shares)
        return "sent"


class World:
    """The eight services on the double, a product, and the release of `subscribe` and `send_batch` in `file`."""

    def __init__(self, double: CloudRunDouble, product: Product, session: aiohttp.ClientSession, file: Path) -> None:
        self.double, self.product, self.file = double, product, file
        self.said: list[str] = []
        self.mail = Mail(double)
        for step in STEPS:
            double.create(PROJECT, HERE, step.replace("_", "-"))
        self.of("subscribe").ingress = "INGRESS_TRAFFIC_ALL"
        double.public = product.url
        self.slept = 0.0
        self.cloud = CloudRun(f"http://{double.address}", self.sleep)
        self.release = Release(self.cloud, file, self.said.append, self.sleep, patience=30)
        sign_up = cast(SignUp, self.mail)
        self.checks = Smoke(session, product.url, product.endpoints, sign_up, say=self.said.append, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        await asyncio.sleep(0)

    def of(self, step: str, region: str = HERE) -> Service:
        return self.double.services[f"projects/{PROJECT}/locations/{region}/services/{step.replace('_', '-')}"]

    async def pin(self, *steps: str, force: bool = False, regions: tuple[str, ...] = (HERE,)) -> None:
        await self.release.pin(PROJECT, regions, steps or ("subscribe", "send_batch"), force)

    def deploy(self, *steps: str, hold: bool = True) -> None:
        for step in steps or ("subscribe", "send_batch"):
            self.double.deploy(self.of(step), hold=hold)

    def shares(self, step: str) -> dict[str, int]:
        """Number of the revision -> percent."""
        return {revision.removeprefix(self.of(step).short)[1:6]: share for revision, share in self.of(step).shares.items()}

    def back(self) -> bool:
        """Whether everything is as before the release, and by name."""
        return all(
            self.of(step).traffic == [{"type": REVISION, "revision": f"{self.of(step).short}-00001-abc", "percent": 100}]
            and self.shares(step) == {"00001": 100}
            and not self.of(step).tags
            for step in ("subscribe", "send_batch")
        )

    def watch(self) -> list[dict[str, int]]:
        """The traffic of subscribe as each request to health finds it."""
        seen: list[dict[str, int]] = []

        async def healthy(request: web.Request) -> web.StreamResponse:
            seen.append(self.shares("subscribe"))
            return web.Response()

        self.product.broken["health"] = healthy
        return seen

    def unhealthy_from(self, percent: int) -> None:
        """The new revision of subscribe is broken, which shows once it has so much of the traffic."""

        async def sick(request: web.Request) -> web.StreamResponse:
            return web.Response(status=500 if self.shares("subscribe").get("00002", 0) >= percent else 200)

        self.product.broken["health"] = sick


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with cloud_run() as double, product() as served, aiohttp.ClientSession() as session:
        yield World(double, served, session, tmp_path / "build" / "release.json")


# --- what Terraform plans ---


def planned(*actions: tuple[str, list[str]], kind: str = "google_cloudfunctions2_function") -> dict[str, Any]:
    changes = [
        {
            "type": kind,
            "index": f"{name}@x",
            "change": {"actions": acts, "before": None if acts == ["create"] else {"name": name}},
        }
        for name, acts in actions
    ]
    return {"format_version": "1.2", "resource_changes": changes}


def test_only_functions_updated_in_place_are_held() -> None:
    plan = planned(
        ("send-batch", ["update"]),
        ("track", ["update"]),
        ("track", ["update"]),  # in another region
        ("launch", ["no-op"]),
        ("record", ["delete", "create"]),
        ("webhooks", ["create"]),
    )
    plan["resource_changes"] += planned(("subscribe", ["update"]), kind="google_storage_bucket")["resource_changes"]
    assert changed(plan) == ["send_batch", "track"]
    assert changed({"format_version": "1.2"}) == []
    for broken in ({}, {"format_version": "1", "resource_changes": [{}]}):
        with pytest.raises(BadInput, match="terraform show -json"):
            changed(broken)


def test_a_shell_reads_the_settings_as_they_are() -> None:
    given = {
        "project": PROJECT,
        "regions": [HERE, THERE],
        "tenant": "it's",
        "smoke_address": None,
        "firestore_database": "(default)",
        "paused": False,
    }
    outputs: dict[str, dict[str, Any]] = {
        "public_url": {"value": "https://news.example"},
        "endpoints": {"value": {"record": "https://r.example"}},
    }
    plan = {"variables": {k: {"value": v} for k, v in given.items()}, "planned_values": {"outputs": outputs}}
    names = (
        "STACK",
        "GOOGLE_CLOUD_PROJECT",
        "REGIONS",
        "TENANT",
        "FIRESTORE_DATABASE",
        "SMOKE_ADDRESS",
        "PUBLIC_URL",
        "ENDPOINTS",
    )
    script = "\n".join([*settings(plan), "printf '%s\\n' " + " ".join(f'"${name}"' for name in names)])
    told = subprocess.run(["sh", "-eu", "-c", script], capture_output=True, text=True, check=True, env={})
    assert told.stdout.splitlines() == [
        "google",
        PROJECT,
        f'["{HERE}", "{THERE}"]',
        "it's",
        "(default)",
        "",
        "https://news.example",
        '{"record": "https://r.example"}',
    ]
    del outputs["endpoints"]["value"]
    with pytest.raises(BadInput, match="endpoints"):
        settings(plan)


@pytest.mark.parametrize(("paused", "address"), [(False, "a@example.com"), (True, ""), ("true", ""), ("false", "a@example.com")])
def test_nobody_is_mailed_by_a_check_while_the_product_is_paused(paused: object, address: str) -> None:
    given = {"project": "p", "regions": [HERE], "tenant": "t", "firestore_database": "d", "smoke_address": "a@example.com"}
    plan = {
        "variables": {name: {"value": value} for name, value in {**given, "paused": paused}.items()},
        "planned_values": {"outputs": {"public_url": {"value": "https://n.example"}, "endpoints": {"value": {}}}},
    }
    assert f"export SMOKE_ADDRESS={address or chr(39) * 2}" in settings(plan)
    del plan["variables"]["paused"]
    with pytest.raises(BadInput, match="paused"):
        settings(plan)


def test_a_list_is_json_or_has_commas() -> None:
    assert words('["a", "b"]') == words("a, b") == ["a", "b"]
    assert words("[]") == words("") == []
    for bad in ("[1]", '["a"', '[""]'):
        with pytest.raises(BadInput):
            words(bad)


# --- pin ---


async def test_pin_keeps_what_serves_by_name_and_touches_nothing_else(world: World) -> None:
    world.double.create(PROJECT, THERE, "subscribe")
    world.double.create(PROJECT, THERE, "send-batch")  # not one of ours: private steps are in the first region
    await world.pin("subscribe", "send_batch", "absent", regions=(HERE, THERE))
    assert world.double.patches == {"subscribe": 2, "send-batch": 1}
    assert world.of("send_batch", THERE).traffic == [{"type": LATEST, "percent": 100}]
    assert world.of("subscribe", THERE).traffic == [{"type": REVISION, "revision": "subscribe-00001-abc", "percent": 100}]
    assert world.back()
    assert any(line == f"absent ({HERE}) is not there yet: nothing to hold back." for line in world.said)
    record = Record.load(world.file)
    assert record.state == "pinned" and [held.revision for held in record.services] == [
        "subscribe-00001-abc",
        "subscribe-00001-abc",
        "send-batch-00001-abc",
    ]
    world.deploy()
    assert world.back(), "a new revision got traffic"


async def test_without_a_pin_a_held_revision_would_take_everything(world: World) -> None:
    world.deploy("track")
    assert world.shares("track") == {"00002": 100}


async def test_pin_refuses_while_another_release_has_not_ended(world: World) -> None:
    await world.pin()
    anew = "python -m ops release pin --force --steps subscribe,send_batch --regions europe-west1 --project lumen-mail"
    with pytest.raises(Stopped, match="has not ended") as told:
        await world.pin()
    assert str(told.value).endswith(f"{anew} --file {world.file}")
    assert f" python -m ops release rollback --file {world.file} " in str(told.value)
    world.file.unlink()
    world.deploy()
    old, new = Target("subscribe-00001-abc", 10), Target("subscribe-00002-abc", 90, "candidate")
    await world.cloud.route(world.of("subscribe").name, [old, new])
    world.double.patches.clear()
    with pytest.raises(Stopped, match=r"subscribe \(europe-west1\): traffic is split") as told:
        await world.pin()
    assert str(told.value).endswith(f"{anew} --file {world.file}")
    assert not world.double.patches and not world.file.exists()
    await world.pin(force=True)
    assert world.back(), "the candidate counted as serving"


async def test_a_tag_that_is_left_at_no_share_is_no_release_and_goes(world: World) -> None:
    world.deploy()
    left = [Target("subscribe-00001-abc", 100), Target("subscribe-00002-abc", 0, "candidate")]
    await world.cloud.route(world.of("subscribe").name, left)
    assert world.of("subscribe").tags
    await world.pin("subscribe", "track")
    assert not world.of("subscribe").tags and world.shares("subscribe") == {"00001": 100}
    world.deploy("subscribe")
    world.double.patches.clear()
    world.file.unlink()
    await world.cloud.route(world.of("subscribe").name, [Target("subscribe-00001-abc", 100), Target("", 0, "candidate")])
    await world.pin("subscribe")
    assert world.shares("subscribe") == {"00001": 100} and not world.of("subscribe").tags


async def test_a_split_that_is_asked_for_and_not_there_yet_is_one(world: World) -> None:
    world.deploy("track")
    service = world.of("track")
    service.traffic = [
        {"type": REVISION, "revision": f"track-0000{number}-abc", "percent": share} for number, share in ((1, 90), (2, 10))
    ]
    assert (await world.cloud.get(service.name)).split
    service.traffic = [{"type": LATEST, "percent": 50}, {"type": REVISION, "revision": "track-00002-abc", "percent": 50}]
    assert not (await world.cloud.get(service.name)).split, "both are the same revision"


async def test_the_file_is_there_before_the_first_service_is_touched(world: World) -> None:
    seen: list[bool] = []
    world.double.meddle = lambda _: seen.append(Record.load(world.file).state == "pinned")
    await world.pin()
    assert seen == [True, True]


# --- shift ---


async def test_a_release_goes_in_stages_and_ends_on_the_latest_revision(world: World) -> None:
    seen = world.watch()
    await world.pin()
    world.deploy()
    await world.release.shift(world.checks)
    stages = [{"00001": 90, "00002": 10}] * 44 + [{"00001": 50, "00002": 50}] * 7 + [{"00002": 100}]
    assert seen == stages
    assert world.product.asked["candidate"] == 1
    assert world.mail.seen == [{"subscribe-00002-abc": 100}], "one mail, at 100%"
    for step in ("subscribe", "send_batch"):
        assert world.of(step).traffic == [{"type": LATEST, "percent": 100}]
        assert world.shares(step) == {"00002": 100}
    # pin, 0, 10, 50, 100, latest
    assert world.double.patches == {"subscribe": 6, "send-batch": 6}, "a service that did not change was touched"
    assert Record.load(world.file).state == "done"
    await world.pin()  # the next release may begin


async def test_a_failed_smoke_at_ten_percent_takes_everything_back(world: World) -> None:
    await world.pin()
    world.deploy()
    world.unhealthy_from(10)
    with pytest.raises(Stopped, match="Rolled back"):
        await world.release.shift(world.checks)
    assert world.back()
    assert "A smoke check failed at 10%. Everything goes back." in world.said
    assert f"send-batch ({HERE}) is back on send-batch-00001-abc, 100%." in world.said
    assert not any(line.startswith("50%") for line in world.said)
    assert world.mail.seen == []
    assert Record.load(world.file).state == "rolled back"
    world.double.patches.clear()
    await world.release.rollback()
    assert not world.double.patches, "a second rollback wrote something"


async def test_a_mail_that_does_not_go_out_takes_everything_back(world: World) -> None:
    await world.pin()
    world.deploy()
    world.unhealthy_from(100)
    with pytest.raises(Stopped, match="Rolled back"):
        await world.release.shift(world.checks)
    assert world.back() and "A smoke check failed at 100%. Everything goes back." in world.said


async def test_a_candidate_that_is_not_healthy_gets_no_traffic(world: World) -> None:
    seen = world.watch()
    await world.pin()
    world.deploy()
    world.product.answers("candidate", 503)
    with pytest.raises(Stopped, match="Rolled back"):
        await world.release.shift(world.checks)
    assert world.back() and seen == []


async def test_a_candidate_behind_a_closed_ingress_is_left_out_plainly(world: World) -> None:
    world.of("subscribe").ingress = "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
    await world.pin()
    world.deploy()
    await world.release.shift(world.checks)
    assert world.product.asked["candidate"] == 0
    assert any(line.startswith("left out  health of the candidate") for line in world.said)


async def test_a_function_that_was_not_held_back_is_said_and_can_still_go_back(world: World) -> None:
    await world.pin()
    world.deploy("subscribe", hold=False)  # the provider ignored the flag
    world.deploy("send_batch")
    seen = world.watch()
    await world.release.shift(world.checks)
    sentence = f"subscribe ({HERE}): subscribe-00002-abc has all traffic already, it was not held back. It is checked as it is."
    assert sentence in world.said
    assert seen == [{"00002": 100}] * (44 + 7 + 1)
    assert world.shares("send_batch") == {"00002": 100}

    await world.pin()
    world.double.deploy(world.of("subscribe"), hold=False)
    world.product.answers("health", 500)
    with pytest.raises(Stopped, match="Rolled back"):
        await world.release.shift(world.checks)
    assert world.shares("subscribe") == {"00002": 100}


async def test_a_function_without_a_new_revision_is_said_and_follows_the_latest_again(world: World) -> None:
    await world.pin()
    world.deploy("subscribe")
    await world.release.shift(world.checks)
    assert f"send-batch ({HERE}) got no new revision: nothing to shift." in world.said
    assert world.of("send_batch").traffic == [{"type": LATEST, "percent": 100}]
    assert world.double.patches["send-batch"] == 2
    assert 15 <= world.slept < 40


async def test_a_revision_that_never_becomes_ready_takes_everything_back(world: World) -> None:
    await world.pin()
    world.deploy("subscribe")
    world.double.deploy(world.of("send_batch"), hold=True, ready=False)
    with pytest.raises(Stopped, match="Rolled back"):
        await world.release.shift(world.checks)
    assert world.back()
    assert any("send-batch-00002-abc did not become ready within 30 s" in line for line in world.said)


async def test_with_nothing_held_the_product_is_still_checked(world: World) -> None:
    await world.release.pin(PROJECT, [HERE], [])
    world.product.answers("webhook", 200)
    with pytest.raises(Stopped, match="nothing to roll back"):
        await world.release.shift(world.checks)
    await world.release.pin(PROJECT, [HERE], [])
    del world.product.broken["webhook"]
    await world.release.shift(world.checks)
    assert not world.double.patches and len(world.mail.seen) == 2


async def test_a_release_is_shifted_once(world: World) -> None:
    await world.pin()
    world.deploy()
    await world.release.shift(world.checks)
    with pytest.raises(Stopped, match="begin with release pin"):
        await world.release.shift(world.checks)


@pytest.mark.parametrize("ready", [True, False])
async def test_a_deployment_meanwhile_gets_no_traffic_and_what_was_checked_stays(world: World, ready: bool) -> None:
    async def check(send: object) -> str:  # the last check, at 100%
        for step in ("subscribe", "track"):
            world.double.deploy(world.of(step), hold=True, ready=ready)
        return "sent"

    await world.pin("subscribe", "send_batch", "track")
    world.deploy()
    world.mail.check = check  # type: ignore[method-assign]
    with pytest.raises(Stopped) as told:
        await world.release.shift(world.checks)
    stays = "subscribe (europe-west1) stays on subscribe-00002-abc, 100%, track (europe-west1) stays on track-00001-abc, 100%."
    assert str(told.value) == f"Another deployment happened meanwhile, which nobody has checked: {stays}"
    assert world.of("subscribe").traffic == [{"type": REVISION, "revision": "subscribe-00002-abc", "percent": 100}]
    assert world.of("track").traffic == [{"type": REVISION, "revision": "track-00001-abc", "percent": 100}]
    assert world.of("send_batch").traffic == [{"type": LATEST, "percent": 100}]
    assert not any("goes back" in line or line.startswith("Done") for line in world.said)
    assert Record.load(world.file).state == "done"
    await world.pin()  # the next release may begin, and finds it


async def test_a_deployment_between_the_last_look_and_the_change_is_seen(world: World) -> None:
    def meddle(service: Service) -> None:
        if service.short == "subscribe" and world.double.patches["subscribe"] == 5 and len(service.revisions) == 2:
            world.deploy("subscribe")  # pin, 0, 10, 50, 100, and now the last one is on its way

    await world.pin()
    world.deploy()
    world.double.meddle = meddle
    with pytest.raises(Stopped, match="Another deployment"):
        await world.release.shift(world.checks)
    assert world.shares("subscribe") == {"00002": 100} and len(world.of("subscribe").revisions) == 3


# --- what gets in the way ---


async def test_a_failed_operation_takes_everything_back(world: World) -> None:
    def meddle(service: Service) -> None:
        fails = service.short == "send-batch" and world.double.patches["send-batch"] == 3  # pin, 0, 10, now 50
        world.double.fault = "Revision 'send-batch-00002-abc' is not ready." if fails else ""

    await world.pin()
    world.deploy()
    world.double.meddle = meddle
    with pytest.raises(Stopped, match="Rolled back"):
        await world.release.shift(world.checks)
    assert world.back() and not any(line.startswith("50%") for line in world.said)
    assert "send-batch: Revision 'send-batch-00002-abc' is not ready. Everything goes back." in world.said


async def test_what_cannot_go_back_is_named_and_the_others_do(world: World) -> None:
    await world.pin()
    world.deploy()
    world.double.services.pop(world.of("send_batch").name)
    with pytest.raises(Stopped, match="release rollback"):
        await world.release.shift(world.checks)
    assert world.shares("subscribe") == {"00001": 100} and not world.of("subscribe").tags
    assert any("send-batch (europe-west1) is NOT back on send-batch-00001-abc" in line for line in world.said)
    assert Record.load(world.file).state == "shifting", "a rollback that failed counts as one"


async def test_somebody_elses_change_is_met_by_reading_again(world: World) -> None:
    left = [1]

    def meddle(service: Service) -> None:
        if left and service.short == "subscribe":
            left.pop()
            service.version += 1

    world.double.meddle = meddle
    await world.pin()
    assert world.back() and world.double.patches == {"subscribe": 1, "send-batch": 1}

    def always(service: Service) -> None:
        service.version += 1

    world.double.meddle = always
    with pytest.raises(Failed, match="Conflict"):
        await world.cloud.route(world.of("track").name, [Target("track-00001-abc", 100)])
    assert world.double.patches["track"] == 0


async def test_calls_that_fail_for_a_moment_are_made_again_and_refusals_are_not(world: World) -> None:
    world.double.failures.extend([503, 503])
    await world.pin()
    assert world.back()
    calls = world.double.calls
    with pytest.raises(Failed, match="add up to 100"):
        await world.cloud.route(world.of("track").name, [Target("track-00001-abc", 60)])
    assert world.double.calls - calls <= 3
    with pytest.raises(Failed, match="not found"):
        await world.cloud.route(world.of("track").name, [Target("track-00009-abc", 100)])
    world.double.failures.extend([503] * 20)
    with pytest.raises(Unavailable):
        await world.cloud.get(world.of("track").name)


async def test_an_operation_is_waited_for_and_not_for_ever(world: World) -> None:
    world.double.looks = 5
    await world.pin("track")
    assert world.shares("track") == {"00001": 100} and world.slept == 0.5 + 1 + 2 + 4 + 8
    world.double.looks, world.slept = 10_000, 0
    with pytest.raises(Failed, match="not done after 300 s"):
        await world.cloud.route(world.of("launch").name, [Target("launch-00001-abc", 100)])
    assert 300 < world.slept < 320


# --- as a process ---


def started(world: World, command: list[str]) -> subprocess.Popen[str]:
    given = {
        "STACK": "google",
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "TENANT": "main",
        "PUBLIC_URL": world.product.url,
        "REGIONS": f"{HERE},{THERE}",
        "ENDPOINTS": json.dumps(world.product.endpoints),
        "CLOUD_RUN_ENDPOINT": f"http://{world.double.address}",
    }
    return subprocess.Popen(
        command, cwd=REPO, env={**os.environ, **given}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def ops(world: World, *words: str) -> subprocess.Popen[str]:
    return started(world, [sys.executable, "-m", "ops", "release", *words, "--file", str(world.file)])


def built_shift(world: World) -> subprocess.Popen[str]:
    """The script of the step `shift`, with this release's file."""
    script = scripts((REPO / "cloudbuild.yaml").read_text())["shift"]
    (world.file.parent / "settings.sh").touch()
    for theirs, ours in (
        (".venv/bin/python", sys.executable),
        ("build/settings.sh", str(world.file.with_name("settings.sh"))),
        ("build/release.json", str(world.file)),
        ("$BUILD_ID", "1"),
    ):
        assert theirs in script
        script = script.replace(theirs, ours)
    file = world.file.with_name("shift.sh")
    file.write_text(script)
    return started(world, ["sh", str(file)])


async def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = await asyncio.to_thread(process.communicate, timeout=60)
    return process.returncode, output


async def test_killed_between_pin_and_shift_a_rollback_restores(world: World) -> None:
    assert (await ended(ops(world, "pin", "--steps", '["subscribe", "send_batch"]')))[0] == 0
    world.deploy("subscribe")
    world.deploy("send_batch", hold=False)
    code, output = await ended(ops(world, "rollback"))
    assert code == 0 and world.back(), output
    assert "subscribe (europe-west1) has stayed on subscribe-00001-abc" in output
    assert "send-batch (europe-west1) is back on send-batch-00001-abc" in output


@pytest.mark.parametrize(
    ("number", "built"), [(signal.SIGKILL, False), (signal.SIGTERM, False), (signal.SIGINT, False), (signal.SIGTERM, True)]
)
async def test_ended_in_the_middle_of_a_shift(world: World, number: signal.Signals, built: bool) -> None:
    """`built`: by the script of Cloud Build, whose shell is what gets the signal."""
    await world.pin()
    world.deploy()
    reached = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        if world.shares("subscribe").get("00002") == 50:
            reached.set()
            await asyncio.sleep(30)
        return web.Response()

    world.product.broken["health"] = hang
    process = built_shift(world) if built else ops(world, "shift")
    async with asyncio.timeout(60):
        await reached.wait()
    process.send_signal(number)
    code, output = await ended(process)
    if number == signal.SIGKILL:
        assert world.shares("subscribe") == {"00001": 50, "00002": 50}
        code, output = await ended(ops(world, "rollback"))
        assert code == 0, output
    else:
        assert code == 1 and "It was told to stop. Everything goes back." in output and "Rolled back." in output, output
    assert world.back(), output


async def test_the_command_line_ends_with_one_when_a_check_fails_and_zero_when_none_does(world: World) -> None:
    await world.pin()
    world.deploy()
    world.product.answers("webhook", 204)
    code, output = await ended(ops(world, "shift"))
    assert code == 1 and "FAILED    unsigned webhook: answered 204, not 401." in output and world.back(), output
    del world.product.broken["webhook"]
    assert (await ended(ops(world, "pin", "--steps", "subscribe,send_batch")))[0] == 0
    code, output = await ended(ops(world, "shift"))
    assert code == 0 and "left out  sign-up: no address was given" in output and "left out  other regions" in output, output
    assert world.shares("subscribe") == world.shares("send_batch") == {"00002": 100}
    code, output = await ended(ops(world, "shift"))
    assert code == 1 and "Traceback" not in output


async def test_a_broken_file_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "release.json"
    with pytest.raises(BadInput, match="begin with release pin"):
        Record.load(file)
    for text in ("", "[]", '{"state": "pinned"}'):
        file.write_text(text)
        with pytest.raises(BadInput, match="not the file of a release"):
            Record.load(file)
