"""Events out, without a network: what is posted, what an answer means, what is known of an endpoint, and what it costs."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from functions.notify.desk import FAILING, FRESH, LANES, LONGEST, key_of, retry_after
from functions.notify.handler import Notify
from functions.notify.payload import payload, webhook_id
from functions.notify.settings import Config
from functions.notify.tally import EVERY, KEPT, SHOWN
from local.steps import subscriptions
from shared.config import load
from shared.errors import BadInput, ConfigError, Unavailable
from shared.model import endpoint as endpoints
from shared.model.endpoint import Endpoint, parse
from shared.model.event import Event
from shared.outward import public
from shared.ports import Expiry, Merge
from shared.providers.api import Answer, Call, Lost

from .fakes import DAY, HOUR, NOW, FakeSecrets, FaultyStore, nth
from .notices import KEY, NEW_KEY, REF, entries, event
from .world import World

CRM = Endpoint("crm", "https://crm.example/hooks/s3cret-path")
Out = pytest.CaptureFixture[str]


class FakeHttp:
    """`answers` are used up in turn, then 204; `calls` are those made. `meanwhile`: an answer waits for it."""

    def __init__(self, *answers: int | Answer | Lost) -> None:
        self.answers, self.calls = list(answers), list[Call]()
        self.meanwhile: asyncio.Event | None = None

    async def exchange(self, call: Call) -> Answer:
        self.calls.append(call)
        if self.meanwhile:
            await self.meanwhile.wait()
        answer = self.answers.pop(0) if self.answers else 204
        if isinstance(answer, Lost):
            raise answer
        return Answer(answer, {}) if isinstance(answer, int) else answer


def step(world: World, http: FakeHttp, *given: Endpoint, **changes: Any) -> Notify:
    found = {endpoint.name: endpoint for endpoint in given or (CRM,)}
    secrets = FakeSecrets(**{endpoint.secret.replace("-", "_"): [KEY] for endpoint in found.values()})
    needed: dict[str, Any] = {"store": world.store, "secrets": secrets, "clock": world.clock, "paths": world.paths}
    return Notify(found, **needed | changes, open=lambda endpoint, local: http)


async def tried(notify: Notify, n: int = 0, name: str = "crm") -> str:
    """Why the bus is to push the nth event again; "" when it is not."""
    try:
        await notify.handle(event(n).to_message(), f"notify-{name}")
    except Unavailable as error:
        return str(error)
    return ""


async def known(world: World) -> dict[str, Any]:
    return await world.data(world.paths.endpoint("crm"))


async def minutes(world: World) -> list[dict[str, Any]]:
    return [found.data for found in await world.all(world.paths.minutes("crm"))]


# --- what is posted ---------------------------------------------------------------------------------------------------


async def test_the_signature_is_as_specified(world: World) -> None:
    http = FakeHttp()
    await step(world, http).handle(event().to_message(), "notify-crm")
    [call] = http.calls
    id, stamp = call.headers["webhook-id"], call.headers["webhook-timestamp"]
    digest = hmac.digest(b"k" * 32, f"{id}.{stamp}.".encode() + call.body, "sha256")
    assert call.headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    assert (call.method, call.url, stamp) == ("POST", CRM.url, str(NOW // 1000))


def test_the_id_of_an_event_is_for_ever() -> None:
    assert webhook_id("t", event()) == "evt_1044cebc43eda47f5a9f8833c79fed73"


def test_whatever_tells_events_apart_makes_another_id() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"type": "opened"},
        {"ref": event().ref.replace("C-0001", "C-0002")},
        {"at": 1},
        {"label": "machine"},
        {"reason": "burst"},
        {"link": 1},
        {"hard": True},
        {"counts": True},
        {"code": "550"},
        {"provider": "ses"},
        {"id": "1"},
    ]
    assert len({webhook_id("t", event(**change)) for change in changes} | {webhook_id("u", event())}) == len(changes) + 1
    assert webhook_id("t", event(country="PT", city="Porto", device="phone")) == webhook_id("t", event())


def _documented() -> dict[str, dict[str, Any]]:
    page = (Path(__file__).parents[2] / "docs" / "events-out.md").read_text("utf-8")
    found = [json.loads(part.partition("```")[0]) for part in page.split("```json\n")[1:]]
    return {one["type"]: one for one in found if "type" in one}


EXAMPLES = (
    event(country="PT", city="Porto", device="phone"),
    event(type="opened", label="machine", reason="within seconds of hand-off", link=-1),
    Event("delivered", REF.text, NOW, provider="ses", id="0102018d-4f2a"),
    Event("deferred", REF.text, NOW, code="451 4.7.1", provider="ses"),
    Event("bounced", REF.text, NOW, hard=True, code="550 5.1.1", provider="ses"),
    Event("complained", REF.text, NOW, provider="ses"),
    Event("unsubscribed", REF.text, NOW),
    Event("converted", REF.text, NOW, id="A-1017", value=12_500_000, currency="EUR"),
    Event("unknown", REF.text, NOW, provider="ses"),
)


def test_the_page_shows_each_type_as_it_is_posted() -> None:
    made = [json.loads(payload(example)) for example in EXAMPLES]
    assert _documented() == {one["type"]: one for one in made}
    assert set(_documented()) == set(endpoints.TYPES)


def test_a_bounce_says_what_it_means() -> None:
    given: dict[str, dict[str, Any]] = {"hard": {"hard": True}, "soft": {"counts": True}, "other": {}}
    for wanted, changes in given.items():
        assert json.loads(payload(Event("bounced", REF.text, NOW, **changes)))["data"]["bounce"] == wanted


def test_a_time_beyond_the_calendar_is_its_end() -> None:
    assert json.loads(payload(event(at=(1 << 53) - 1)))["timestamp"].startswith("9999-12-31T23:59:59.")


@pytest.mark.parametrize(
    ("endpoint", "posted"),
    [
        (Endpoint("crm", CRM.url, types=("mail.clicked",)), 1),
        (Endpoint("crm", CRM.url, types=("mail.opened", "mail.bounced")), 0),
        (Endpoint("crm", CRM.url, campaigns=("C-0001", "C-0002")), 1),
        (Endpoint("crm", CRM.url, types=("mail.clicked",), campaigns=("C-0002",)), 0),
    ],
)
async def test_an_endpoint_gets_what_it_wants(world: World, endpoint: Endpoint, posted: int) -> None:
    http = FakeHttp()
    assert await tried(step(world, http, endpoint)) == ""
    assert len(http.calls) == posted


async def test_a_subscription_is_of_one_endpoint(world: World) -> None:
    http, shop = FakeHttp(), Endpoint("shop", "https://shop.example/")
    assert await tried(step(world, http, CRM, shop), name="shop") == ""
    assert [call.url for call in http.calls] == [shop.url]


async def test_with_nothing_configured_nothing_is_posted_read_or_said(world: World, capsys: Out) -> None:
    http = FakeHttp()
    notify = Notify({}, world.store, FakeSecrets(), world.clock, world.paths, open=lambda endpoint, local: http)
    await notify.handle(event().to_message(), "notify")
    assert (http.calls, capsys.readouterr().out, world.store.operations.reads) == ([], "", 0)
    assert "notify" not in {step for step, _ in subscriptions("").values()}


async def test_an_endpoint_that_was_removed_is_named_in_the_log(world: World, capsys: Out) -> None:
    assert await tried(step(world, FakeHttp()), name="gone") == ""
    [entry] = entries(capsys.readouterr().out)
    assert (entry["severity"], entry["subscription"]) == ("WARNING", "notify-gone")


async def test_what_is_no_event_is_refused(world: World) -> None:
    with pytest.raises(BadInput):
        await step(world, FakeHttp()).handle({"type": "clicked"}, "notify-crm")


async def test_a_replay_goes_to_its_endpoint_only_under_the_same_id(world: World) -> None:
    http, shop = FakeHttp(), Endpoint("shop", "https://shop.example/")
    notify, again = step(world, http, CRM, shop), {**event().to_message(), "endpoint": "crm"}
    await notify.handle(event().to_message(), "notify-crm")
    for subscription in ("notify-crm", "notify-shop"):
        await notify.handle(again, subscription)
    assert [call.url for call in http.calls] == [CRM.url] * 2
    assert len({call.headers["webhook-id"] for call in http.calls}) == 1


# --- what an answer means ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [200, 201, 204, 299])
async def test_any_2xx_is_done(world: World, answer: int) -> None:
    assert await tried(step(world, FakeHttp(answer))) == ""


@pytest.mark.parametrize("answer", [301, 302, 308, 400, 401, 404, 422, 500])
async def test_what_may_be_about_one_event_holds_no_other_up(world: World, answer: int) -> None:
    http = FakeHttp(answer)
    notify = step(world, http)
    assert str(answer) in await tried(notify, 1)
    assert await tried(notify, 2) == ""
    assert len(http.calls) == 2


@pytest.mark.parametrize(
    "answer", [Lost("down", "ClientConnectorError"), Lost("unknown", "TimeoutError"), 408, 429, 502, 503, 504]
)
async def test_what_is_about_the_endpoint_makes_its_events_wait(world: World, answer: int | Lost) -> None:
    http = FakeHttp(answer, answer)
    notify = step(world, http)
    assert await tried(notify)
    world.clock.advance(999)
    assert "pause" in await tried(notify)
    assert len(http.calls) == 1
    world.clock.advance(1)
    assert "pause" not in await tried(notify)
    world.clock.advance(1_999)  # twice as long
    assert "pause" in await tried(notify)
    world.clock.advance(1)
    assert await tried(notify) == ""
    assert await tried(notify) == ""
    assert len(http.calls) == 4


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("header", "wait"), [("120", 120_000), ("Fri, 15 Jan 2027 08:02:00 GMT", 120_000), ("86400", LONGEST)])
async def test_retry_after_is_honoured(world: World, status: int, header: str, wait: int) -> None:
    http = FakeHttp(Answer(status, {"retry-after": header}))
    notify = step(world, http)
    assert await tried(notify)
    world.clock.advance(wait - 1)
    assert "pause" in await tried(notify)
    world.clock.advance(1)
    assert await tried(notify) == ""
    assert len(http.calls) == 2


def test_a_retry_after_that_says_nothing_is_none() -> None:
    assert [retry_after(text, NOW) for text in ("", "-1", "soon", "9" * 40, "Fri, 15 Jan 2027 07:00:00 GMT")] == [0] * 5


async def test_the_longest_pause_of_our_own_is_a_minute(world: World) -> None:
    http = FakeHttp(*[503] * 30)
    notify = step(world, http)
    for _ in range(20):
        assert await tried(notify)
        world.clock.advance(60_000)
    assert len(http.calls) == 20


async def test_after_a_pause_one_goes_ahead_alone(world: World) -> None:
    http = FakeHttp(503)
    notify = step(world, http)
    assert await tried(notify)
    world.clock.advance(1_000)
    http.meanwhile = asyncio.Event()
    first = asyncio.create_task(tried(notify, 1))
    await asyncio.sleep(0.05)
    async with asyncio.timeout(2):
        assert "under way" in await tried(notify, 2)
    http.meanwhile.set()
    assert await first == ""
    assert await asyncio.gather(*(tried(notify, n) for n in range(3, 8))) == [""] * 5


async def test_failures_of_one_moment_are_one_strike(world: World) -> None:
    http = FakeHttp(*[503] * 10)
    notify = step(world, http)
    http.meanwhile = asyncio.Event()
    together = [asyncio.create_task(tried(notify, n)) for n in range(10)]
    await asyncio.sleep(0.05)
    world.clock.advance(500)  # they began before the first of them failed
    http.meanwhile.set()
    assert all(await asyncio.gather(*together))
    world.clock.advance(1_000)
    assert await tried(notify) == ""


async def test_a_slow_endpoint_takes_no_more_than_its_lanes(world: World) -> None:
    http = FakeHttp()
    notify = step(world, http, CRM, Endpoint("shop", "https://shop.example/"))
    http.meanwhile = asyncio.Event()
    slow = [asyncio.create_task(tried(notify, n)) for n in range(LANES + 5)]
    await asyncio.sleep(0.1)
    assert len(http.calls) == LANES
    http.meanwhile.set()
    assert sorted("under way" in why for why in await asyncio.gather(*slow)) == [False] * LANES + [True] * 5


# --- endpoints that are disabled --------------------------------------------------------------------------------------


async def test_gone_is_gone_for_every_process_until_the_operator_says_otherwise(world: World, capsys: Out) -> None:
    http = FakeHttp(410)
    first, second = step(world, http), step(world, http)
    assert await tried(first) == ""  # nothing is pushed again
    state = await known(world)
    assert (state["disabled_at"], state["reason"]) == (NOW, "gone")
    assert await tried(first) == await tried(second) == ""
    assert len(http.calls) == 1
    [said] = [entry for entry in entries(capsys.readouterr().out) if "endpoints_disabled" in entry.get("metrics", {})]
    assert (said["severity"], said["endpoint"], said["why"]) == ("ERROR", "crm", "gone")
    await world.store.commit([Merge(world.paths.endpoint("crm"), {"disabled_at": 0, "failing_since": 0})])
    world.clock.advance(FRESH)
    assert await tried(first) == ""
    assert len(http.calls) == 2


async def test_another_url_begins_anew(world: World) -> None:
    assert await tried(step(world, FakeHttp(410))) == ""
    http = FakeHttp()
    assert await tried(step(world, http, Endpoint("crm", "https://new.example/"))) == ""
    assert len(http.calls) == 1


async def test_who_fails_for_days_is_disabled(world: World, capsys: Out) -> None:
    http = FakeHttp(*[500] * 100)
    notify = step(world, http)
    assert await tried(notify)
    world.clock.advance(FAILING - 1)
    assert await tried(notify)
    assert (await known(world))["disabled_at"] == 0
    world.clock.advance(1)
    assert await tried(notify)
    state = await known(world)
    assert (state["reason"], state["failing_since"]) == ("failing", NOW)
    calls = len(http.calls)
    assert await tried(notify) == ""
    assert len(http.calls) == calls
    assert (await minutes(world))[-1]["dropped"] == 0  # noted within the minute that follows
    world.clock.advance(EVERY)
    assert await tried(notify) == ""
    assert (await minutes(world))[-1]["dropped"] == 2
    assert any("events_dropped" in entry.get("metrics", {}) for entry in entries(capsys.readouterr().out))


async def test_one_success_counts_for_every_process(world: World) -> None:
    failing, other = step(world, FakeHttp(*[500] * 100)), step(world, FakeHttp())
    assert await tried(failing)
    assert (await known(world))["failing_since"] == NOW
    assert await tried(other) == ""
    assert (await known(world))["failing_since"] == 0
    world.clock.advance(FAILING)
    assert await tried(failing)
    assert (await known(world))["disabled_at"] == 0


async def test_a_success_of_a_moment_ago_keeps_an_endpoint(world: World) -> None:
    failing, other = step(world, FakeHttp(*[500] * 100)), step(world, FakeHttp())
    assert await tried(failing)
    world.clock.advance(FAILING - FRESH // 2)
    assert await tried(failing)  # what it knows now is believed for another minute
    assert await tried(other) == ""
    world.clock.advance(FRESH // 2)
    assert await tried(failing)
    assert (await known(world))["disabled_at"] == 0


async def test_a_store_that_does_not_answer_repeats_nothing_that_was_delivered(world: World) -> None:
    await world.store.commit([Merge(world.paths.endpoint("crm"), {"failing_since": 1, "disabled_at": 0, "url": CRM.digest})])
    http = FakeHttp()
    notify = step(world, http, store=FaultyStore(world.store, lambda verb: "refused" if verb == "commit" else ""))
    assert await tried(notify) == ""
    assert len(http.calls) == 1 and await minutes(world) == []
    unread = step(world, http, store=FaultyStore(world.store, lambda verb: "refused"))
    assert "the store" in await tried(unread)  # nothing is posted to an endpoint that may be disabled
    assert len(http.calls) == 1


async def test_gone_is_asked_again_when_it_could_not_be_noted(world: World) -> None:
    http = FakeHttp(410, 410)
    plans = [nth(1, "refused")]  # the note of the minute, then the endpoint's state
    notify = step(world, http, store=FaultyStore(world.store, plans[0]))
    assert "the store" in await tried(notify)
    assert await tried(notify) == ""
    assert (len(http.calls), (await known(world))["reason"]) == (2, "gone")


# --- the log of deliveries, and what it costs -------------------------------------------------------------------------


async def test_a_minute_of_events_is_one_read_and_one_write(world: World) -> None:
    notify, operations = step(world, FakeHttp()), world.store.operations
    for n in range(100):
        assert await tried(notify, n) == ""
    assert (operations.reads, operations.writes) == (1, 1)
    world.clock.advance(EVERY)
    for n in range(100):
        assert await tried(notify, n) == ""
    assert (operations.reads, operations.writes) == (2, 2)
    assert [one["delivered"] for one in await minutes(world)] == [1, 100]


async def test_an_endpoint_that_is_down_costs_no_more(world: World) -> None:
    notify, operations = step(world, FakeHttp(*[500] * 200)), world.store.operations
    for n in range(100):
        assert await tried(notify, n)
    assert (operations.reads, operations.writes) == (1, 2)  # one of them: failing since
    world.clock.advance(EVERY)
    assert await tried(notify)
    assert (operations.reads, operations.writes) == (2, 3)


async def test_many_at_once_look_once(world: World) -> None:
    notify = step(world, FakeHttp())
    assert set(await asyncio.gather(*(tried(notify, n) for n in range(30)))) == {""}
    assert (world.store.operations.reads, world.store.operations.writes) == (1, 1)


async def test_failures_are_listed_with_what_finds_them(world: World) -> None:
    http = FakeHttp(*[500] * SHOWN, *[404] * 5)
    notify = step(world, http)
    for n in range(SHOWN + 5):
        assert await tried(notify, n)
    world.clock.advance(EVERY)
    assert await tried(notify) == ""
    first, rest = await minutes(world)
    wanted = {"id": http.calls[0].headers["webhook-id"], "mail": REF.text, "type": "mail.clicked", "status": "500", "at": NOW}
    assert first["failures"] == [wanted] and first["failed"] == {"500": 1}
    assert rest["failed"] == {"500": SHOWN - 1, "404": 5} and len(rest["failures"]) == SHOWN
    assert (rest["delivered"], rest["until"], rest["expires_at"]) == (1, NOW + EVERY, Expiry(NOW + EVERY + KEPT))


async def test_a_note_whose_reply_was_lost_counts_once(world: World) -> None:
    notify = step(world, FakeHttp(), store=FaultyStore(world.store, nth(0, "lost")))
    for n in range(3):
        assert await tried(notify, n) == ""
        world.clock.advance(EVERY)
    assert sorted(one["delivered"] for one in await minutes(world)) == [1, 2]


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [b"", b"whsec_", b"k" * 32, KEY.replace(b"whsec", b"whsk"), b"whsec_" + base64.b64encode(b"k" * 23), b"whsec_!!!" + KEY[6:]],
)
async def test_no_key_no_post(world: World, text: bytes, capsys: Out) -> None:
    assert key_of(text) == b""
    http = FakeHttp()
    assert "secret events-out-crm" in await tried(step(world, http, secrets=FakeSecrets(events_out_crm=[text])))
    assert await tried(step(world, http, secrets=FakeSecrets())) != ""
    assert http.calls == [] and "every version" in capsys.readouterr().out


async def test_neither_a_key_nor_the_url_is_ever_logged_or_stored(world: World, capsys: Out) -> None:
    http = FakeHttp(500, Lost("down", "ClientConnectorError"), 410)
    notify = step(world, http, secrets=FakeSecrets(events_out_crm=[KEY, NEW_KEY, b"whsec_broken"]))
    for n in range(5):
        await tried(notify, n)
        world.clock.advance(EVERY)
    told = capsys.readouterr().out + str(await known(world)) + str(await minutes(world))
    assert told and not [word for word in (KEY, NEW_KEY, b"whsec_broken") if word[6:].decode() in told]
    assert "s3cret-path" not in told and "crm.example" not in told


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("{", "not JSON"),
        ("{}", "must be a list"),
        ("[1]", "an object with name and url"),
        ('[{"name": "CRM", "url": "https://x.example/"}]', "a name is lower-case"),
        ('[{"name": "crm-dead", "url": "https://x.example/"}]', "not ending in -dead"),
        ('[{"name": "a", "url": "https://x.example/"}, {"name": "a", "url": "https://y.example/"}]', "a name of its own"),
        ('[{"name": "a", "url": "https://x.example/", "key": "1"}]', "there is no setting 'key'"),
        ('[{"name": "a", "url": "https://x.example/", "types": ["clicked"]}]', "types must be some of mail.delivered"),
        ('[{"name": "a", "url": "https://x.example/", "types": "mail.clicked"}]', "types must be"),
        ('[{"name": "a", "url": "https://x.example/", "campaigns": ["C 1"]}]', "campaigns must be ids"),
        *(
            (json.dumps([{"name": "a", "url": url}]), "url must be an https:// address")
            for url in (
                *("", "x.example", "ftp://x.example/", "http://x.example/", "http://127.0.0.1/", "https://u:s3cret@x.example/"),
                *("https:///x", "https://x.example/#f", "https://x.example:0/", "https://x.example:99999/", "https://x example/"),
            )
        ),
        ('[{"name": "a"}]', "url must be"),
    ],
)
def test_a_wrong_endpoint_is_named_without_its_url(given: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as refused:
        parse(given)
    assert "x.example" not in str(refused.value) and "s3cret" not in str(refused.value)


def test_settings_are_read() -> None:
    text = '[{"name": "crm", "url": "https://crm.example/x", "types": ["mail.clicked"], "campaigns": ["C-0001", "welcome"]}]'
    assert parse(text) == {"crm": Endpoint("crm", "https://crm.example/x", ("mail.clicked",), ("C-0001", "welcome"))}
    assert parse("") == parse("[]") == {}


PUSH = {"TENANT": "t", "PUBLIC_URL": "https://x.example", "PUSH_AUDIENCE": "a", "PUSH_ISSUER": "i", "PUSH_EMAIL": "e@x.example"}
TWIN = PUSH | {"STACK": "embedded", "STATE_DIR": "/tmp/x", "PUSH_AUTH": "oidc", "PUSH_CERTS": "file:///x"}
GOOGLE = PUSH | {"STACK": "google", "GOOGLE_CLOUD_PROJECT": "p", "PUSH_AUTH": "iam", "K_SERVICE": "notify"}
HERE = {"EVENTS_OUT": '[{"name": "crm", "url": "http://127.0.0.1:9000/"}]'}


@pytest.mark.parametrize(
    ("environ", "local"),
    [
        (TWIN, True),
        (GOOGLE | {"K_SERVICE": "", "PUSH_AUTH": "oidc", "PUSH_CERTS": "x", "FIRESTORE_EMULATOR_HOST": "127.0.0.1:1"}, True),
        (GOOGLE, False),
        (GOOGLE | {"FIRESTORE_EMULATOR_HOST": "127.0.0.1:1"}, False),
    ],
)
def test_only_the_twin_posts_to_this_machine(environ: dict[str, str], local: bool) -> None:
    if local:
        assert load(Config, environ | HERE).endpoints()["crm"].url == "http://127.0.0.1:9000/"
    else:
        with pytest.raises(ConfigError, match="https://"):
            load(Config, environ | HERE)
    assert load(Config, environ).local is local


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001:82a::200e"])
def test_public_addresses(address: str) -> None:
    assert public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1"),
        *("255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd20:ce::254", "fec0::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1"),
        *("2002:a9fe:a9fe::", "2001::1", "2001:db8::1", "100::1", "metadata.google.internal", "2130706433", "0x7f000001", ""),
    ],
)
def test_addresses_that_are_nobodys_business(address: str) -> None:
    assert not public(address)


def test_times_of_days_are_as_documented() -> None:
    page = " ".join((Path(__file__).parents[2] / "docs" / "events-out.md").read_text("utf-8").split())
    said = (
        f"{FAILING // DAY} days without one success",
        f"at most {LONGEST // HOUR} hour",
        f"goes by itself after {KEPT // DAY} days",
        f"at most {LANES} posts",
    )
    assert [sentence for sentence in said if sentence not in page] == []
