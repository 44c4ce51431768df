"""What the bench is believed for: it notices another mail, a lost or repeated one, a ledger that is not whole, a missing peer."""

from __future__ import annotations

import asyncio
import base64
import hmac
import io
import itertools
import json
import os
import socket
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn
from rich.console import Console

from bench import bare, callbacks, delay, drive, letter, load, memory, report, scale, served, sink, stage
from bench.peers import given, plain_smtplib, sides, tools
from shared.model import batch
from shared.ports import Filter, Merge, Outgoing
from shared.providers.smtp import SmtpSender

OURS = given.compiled(given.links()).splice(given.samples()[1], letter.DATE)
THEIRS = plain_smtplib.build().build(given.samples()[1]).as_bytes()


# --- the same mail ----------------------------------------------------------------------------------------------------


def test_the_peers_letter_is_ours() -> None:
    letter.same(OURS, THEIRS, "the peer")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Jos", b"Joz"),
        (b"To: reader1@", b"To: reader2@"),
        (b"List-Unsubscribe-Post: ", b"X-List-Unsubscribe-Post: "),
        (b"/track/k/", b"/track/l/"),
        (b"/unsubscribe/C-0001", b"/unsubscribe/C-0002"),
        (b"<h1", b"<h2"),
        (b"# Hello Jos", b"# Hallo Jos"),
    ],
)
def test_another_letter_is_noticed(old: bytes, new: bytes) -> None:
    assert old in THEIRS
    with pytest.raises(AssertionError, match="the peer sends another"):
        letter.same(OURS, THEIRS.replace(old, new), "the peer")


def test_the_keys_given_to_the_peers_make_our_tokens(tmp_path: Path) -> None:
    given.write(tmp_path, 1)
    told = json.loads((tmp_path / given.FILE).read_text())
    ref = told["recipients"][0]["ref"]
    signature = hmac.digest(bytes.fromhex(told["keys"]["leave"]), ref.encode(), "sha256")[:16]
    token = f"{ref}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    assert told["leave_url"] + token == given.links().unsubscribe(given.samples()[0].ref)


# --- what arrives -----------------------------------------------------------------------------------------------------


async def _send(port: int, numbers: list[int]) -> None:
    sender = SmtpSender("127.0.0.1", port)
    await sender.send("news@lumen.example", [Outgoing(f"reader{n}@example.com", OURS) for n in numbers])
    await sender.close()


@pytest.mark.network
@pytest.mark.parametrize("numbers", [[1, 2], [1, 2, 2], [1, 2, 3, 3], [1, 2, 3, 4], []])
def test_the_sink_notices_a_lost_and_a_repeated_mail(numbers: list[int]) -> None:
    with sink.running() as drain:
        asyncio.run(_send(drain.port, [1, 2, 3]))
        assert drain.expect(3)["bytes"] == 3 * len(OURS)
        asyncio.run(_send(drain.port, numbers))
        with pytest.raises(AssertionError, match="3 mails were sent"):
            drain.expect(3)


@pytest.mark.network
@pytest.mark.parametrize("milliseconds", [0, 1])
def test_the_longer_way_keeps_every_byte_in_order_in_both_directions(milliseconds: float) -> None:
    said, heard = os.urandom(8_000_000), os.urandom(6_000_000)  # more than sockets hold
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        delay.running(server.getsockname()[1], milliseconds) as port,
        socket.create_connection(("127.0.0.1", port)) as near,
    ):
        near.settimeout(20)
        near.sendall(said)  # before the proxy has reached the server
        far, _ = server.accept()
        far.settimeout(20)
        assert _take(far, len(said)) == said
        far.sendall(heard)
        assert _take(near, len(heard)) == heard
        near.close()
        assert far.recv(1) == b""
        far.close()


def _take(end: socket.socket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count and (data := end.recv(65_536)):
        found += data
    return bytes(found)


# --- the ledger of make scale -----------------------------------------------------------------------------------------

Spoil = Callable[[bytes, bytes], dict[str, bytes]]


@pytest.mark.network
@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (None, ""),
        (lambda sids, states: {"sids": sids[16:] + sids[:16] * 2, "states": states + states[:1]}, "places in the ledger"),
        (lambda sids, states: {"sids": sids[16:], "states": states[1:]}, "places in the ledger"),
        (lambda sids, states: {"sids": bytes(16) + sids[16:]}, "places in the ledger"),
        (lambda sids, states: {"states": bytes([batch.HANDED]) + states[1:]}, "not everybody has an end state"),
        (lambda sids, states: {"states": bytes([batch.UNKNOWN]) + states[1:]}, "mails were sent"),
    ],
    ids=["whole", "twice", "missing", "stranger", "open", "unsent"],
)
async def test_a_ledger_that_is_not_whole_is_noticed(
    spoil: Spoil | None, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale, "RECIPIENTS", 10)
    with sink.running() as drain:
        given_stage = await stage.Stage.open(tmp_path)
        await given_stage.seed(10)
        await given_stage.launch().handle()
        sender = stage.sender(drain)
        for message in given_stage.bus.take(batch.TOPIC):
            await given_stage.send_batch(sender).handle(message)
        await sender.close()
        if spoil:
            [found] = await given_stage.store.page(given_stage.paths.batches(stage.CAMPAIGN))
            data = spoil(found.data["sids"], found.data["states"])
            tally = batch.tally(data.get("states", found.data["states"]))
            await given_stage.store.commit([Merge(found.path, {**data, "tally": tally})])
            with pytest.raises(AssertionError, match=complaint):
                await scale._audit(given_stage, drain)
        else:
            assert await scale._audit(given_stage, drain) == {"sent": 10}
        await given_stage.close()


async def test_made_up_subscribers_are_in_one_range_each(tmp_path: Path) -> None:
    store = memory.Generated.open(tmp_path / "store.db")
    assert isinstance(store, memory.Generated)
    store.people, store.folder = 1234, "tenants/bench/subscribers"
    seen: list[str] = []
    for part in batch.ranges(await store.count(store.folder)):
        cursor = part["low"]
        while page := await store.page(store.folder, Filter(below=part["high"] or None), cursor, 50):
            seen += [document.id for document in page]
            cursor = seen[-1]
    assert len(seen) == 1234 and seen == sorted(set(seen))
    store.close()


# --- make load --------------------------------------------------------------------------------------------------------


class _Tracker:
    """Answers hits as track does, on a port of its own; drops or refuses those whose number is told."""

    def __init__(self, drops: int = -1, refuses: int = -1) -> None:
        self._drops, self._refuses = drops, refuses
        self._hits, self._published = 0, Counter[str]()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        number, self._hits = self._hits, self._hits + 1
        _, kind, token, *_ = scope["path"].split("/")
        if number not in (self._drops, self._refuses):
            self._published[token.rpartition(".")[0].rpartition("~")[0]] += 1
        status = 503 if number == self._refuses else 302 if kind == "k" else 200
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    def found(self) -> Counter[str]:
        found, self._published = self._published, Counter()
        return found

    def cpu(self) -> float:
        return float(self._hits)


@asynccontextmanager
async def _served(app: Any) -> AsyncIterator[str]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        await serving


@pytest.mark.network
@pytest.mark.parametrize(
    ("tracker", "gone"), [(_Tracker(), 0), (_Tracker(drops=7), 1), (_Tracker(refuses=9), 1)], ids=["whole", "drops", "refuses"]
)
async def test_a_hit_that_is_answered_but_not_published_is_lost(
    tracker: _Tracker, gone: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"ROUNDS": 1, "RATE": 300.0, "WARMING": 3}.items():
        monkeypatch.setattr(load, name, value)
    bench_stage = await stage.Stage.open(tmp_path)
    async with _served(tracker) as url, _served(bare.hello) as hello:
        server = cast(served.Served, SimpleNamespace(url=url, cpu=tracker.cpu))
        plain = cast(served.Served, SimpleNamespace(url=hello, cpu=itertools.count().__next__))
        sides = [load.Side("track on Google", server, tracker.found, seconds=0.1)]
        sides += [load.Side(name, plain, status=200, seconds=0.1) for name in ("hello", "naive")]
        rows = {row.name: row for row in await load.hits_rows(bench_stage, sides)}
    await bench_stage.close()
    assert (rows["hits lost"].ours, rows["hits lost"].met) == (gone, gone == 0)
    assert rows["CPU of a hit, track on Google / bare ASGI hello"].ours == pytest.approx(1e6)  # a second each, it says
    assert (rows["a hit, p99, track on Google"].met is True) == (tracker._refuses < 0)


async def test_of_the_callbacks_three_in_ten_come_again_and_later(tmp_path: Path) -> None:
    bench_stage = await stage.Stage.open(tmp_path)
    callbacks.prepare(bench_stage)
    coming = await callbacks.coming(bench_stage, 2_000)
    await bench_stage.close()
    again = [each for each in coming if each.again]
    assert sum(len(each.ids) for each in coming) == 2_000
    assert sum(len(each.ids) for each in again) == 600
    assert len({id for each in coming for id in each.ids}) == 1_400
    for each in again:
        [first, second] = [n for n, other in enumerate(coming) if other.call == each.call]
        assert second > first and coming[second].again and not coming[first].again


@pytest.mark.network
async def test_webhook_events_that_no_topic_holds_are_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "CALLBACKS", 200.0)
    bench_stage = await stage.Stage.open(tmp_path)
    callbacks.prepare(bench_stage)
    coming = await callbacks.coming(bench_stage, 400)
    await bench_stage.close()

    async def takes(scope: Any, receive: Any, send: Any) -> None:
        status = 200 if scope["path"] == "/sendgrid" else 204
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body"})

    ids = Counter({id: 1 for each in coming for id in each.ids})
    missing, twice = sorted(ids)[:2]
    async with _served(takes) as url:
        server = cast(served.Served, SimpleNamespace(url=url, cpu=itertools.count().__next__))
        whole = await load.callback_rows(server, coming, lambda: ids)
        torn = await load.callback_rows(server, coming, lambda: ids - Counter([missing]) + Counter([twice]))
    assert [row.ours for row in whole[1:]] == [0, 0] and whole[0].met and whole[1].met
    assert [row.ours for row in torn[1:]] == [1, 1] and torn[1].met is False


def test_a_quantile_counts_what_failed_and_what_weighs_more() -> None:
    done = drive.Driven({0: 0.1, 1: 0.2, 2: 0.3, 3: float("inf")})
    assert [done.quantile(share) for share in (0.25, 0.5, 0.75, 0.99)] == [0.1, 0.2, 0.3, float("inf")]
    assert done.failed == [3]
    assert done.quantile(0.9, [97, 1, 1, 1]) == 0.1 and done.quantile(0.99, [97, 1, 1, 1]) == 0.3


@pytest.mark.network
def test_a_servers_cpu_is_that_of_all_its_processes() -> None:
    with served.bare("bench.bare:hello") as server:
        started = server.cpu()
        with urllib.request.urlopen(server.url) as answer:
            assert answer.read() == b"hello\n"
        assert 0 < started <= server.cpu() < 60
    assert server.cpu() == 0


# --- the report -------------------------------------------------------------------------------------------------------


def test_a_part_replaces_its_own_rows_only(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    report.save([report.counted("a", "x", 1)], "bench", file)
    report.save([report.counted("b", "x", 2)], "scale", file)
    report.save([report.counted("c", "x", 3)], "bench", file)
    assert {row["name"]: row["part"] for row in json.loads(file.read_text())["rows"]} == {"c": "bench", "b": "scale"}


def test_what_may_never_be_missed_is_judged_by_its_worst_round() -> None:
    assert report.never("rate", "mails/s", [5000, 999, 4000], 1000).met is False
    assert report.never("rate", "mails/s", [5000, 1000, 4000], 1000).met is True
    assert report.measured("cost", "µs", [5000, 1, 1], report.Goal("≤", 2)).met is True  # the middle one


@pytest.mark.parametrize("strict", ["", "1"])
def test_a_peer_that_cannot_be_had_is_named_and_under_strict_an_error(strict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> tools.Program:
        raise tools.Missing("there is none here")

    for name in ("nodemailer", "net_smtp", "smtp_source"):
        monkeypatch.setattr(tools, name, missing)
    monkeypatch.setenv("STRICT", strict)
    console = Console(record=True, width=200, file=io.StringIO())
    left_out = lambda sentence: report.left_out(sentence, console)  # noqa: E731
    if strict:
        with pytest.raises(AssertionError, match=r"nodemailer \(pool\) is left out: there is none here"):
            sides.available(left_out)
    else:
        assert list(sides.available(left_out)) == [sides.PATH, sides.SMTPLIB]
        assert len(console.export_text().splitlines()) == 3
