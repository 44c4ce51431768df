"""Requests near to what each step understands: hypothesis draws some hundred for each step, of real tokens, paths and fields among odd
ones, and chance crosses them: the path of one with the headers and the body of others, a value in it replaced. Callbacks are signed
when they are whole, so that their odd bodies are read."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from local.steps import PUSHED, TICKED
from shared.model.event import Event
from shared.providers import webhooks
from tests.providers.webhook_contract import WebhookContract, changed, json_values, paths
from tests.providers.webhook_samples import contract, mutated

from .asking import App, Call, Figures, ask
from .mutations import flipped, raw, to_call
from .stage import CAMPAIGN, Stage
from .words import DEEP, FIELDS, HEADERS, LONG, METHODS, MULTIPART, ODD, PARTS, SIGN, VALUES

POOL = 500  # requests drawn for a step; all others are crossed from them
CHUNK = 400  # requests to a step before it is the next one's turn
AT_ONCE = 8
STARTING = 60.0  # seconds for a step's first request, which builds it

_texts = st.text(st.characters(codec=None), max_size=12) | st.sampled_from(ODD)
_values = st.sampled_from(VALUES) | _texts
_headers = st.lists(
    st.sampled_from(HEADERS) | st.tuples(st.sampled_from([name for name, _ in HEADERS]), _texts.map(raw)), max_size=4
).map(tuple)


def _quoted(text: str) -> bytes:
    return quote(text.encode("utf-8", "surrogatepass"), safe="~").encode()


def _spoiled(made: tuple[str, int]) -> str:
    return mutated(random.Random(made[1]), made[0])


def _near(texts: Sequence[str]) -> st.SearchStrategy[str]:
    """One of these, mostly as it is."""
    one = st.sampled_from(texts)
    return one | one | st.tuples(one, st.integers(0, 1 << 30)).map(_spoiled)


def _segment(*real: str) -> st.SearchStrategy[bytes]:
    """A part of a path: one of these, near one of them, anything else, or no proper encoding at all."""
    wild = st.sampled_from(PARTS)
    return _near(real).map(_quoted) | _texts.map(_quoted) | wild if real else _texts.map(_quoted) | wild


def _way(*parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.tuples(*parts).map(lambda found: b"/" + b"/".join(found))


_pairs = st.lists(st.tuples(st.sampled_from(FIELDS) | _texts, _values), max_size=5)
_form = _pairs.map(lambda found: urlencode(found, errors="surrogatepass").encode())
_query = (
    st.just(b"")
    | st.just(b"")
    | _form.map(lambda found: b"?" + found)
    | st.binary(max_size=30).map(lambda found: b"?" + found.replace(b"?", b""))
)
_json = st.dictionaries(st.sampled_from(FIELDS), _values | json_values, max_size=5).map(
    lambda found: json.dumps(found).encode()
) | json_values.map(lambda found: json.dumps(found).encode())
_multipart = st.tuples(_form, st.sampled_from(MULTIPART)).map(lambda f: f[1] + f[0] + f[1])
_short = st.one_of(st.just(b""), _form, _form, _json, _json, _multipart, st.binary(max_size=80))
_bodies = st.one_of(_short, _short, _short, st.sampled_from((*DEEP, *LONG)))


def _chunks(body: bytes) -> st.SearchStrategy[tuple[bytes, ...]]:
    at = len(body) // 2
    return st.sampled_from([(body,), (body,), (body,), (body[:at], body[at:]), (b"", body, b"")])


def _calls(
    methods: tuple[str, ...],
    target: st.SearchStrategy[bytes],
    headers: st.SearchStrategy[tuple[tuple[bytes, bytes], ...]] = _headers,
    bodies: st.SearchStrategy[bytes] = _bodies,
) -> st.SearchStrategy[Call]:
    return st.builds(
        Call,
        st.sampled_from((*methods * 12, *METHODS)),
        st.tuples(target, _query).map(b"".join),
        headers,
        bodies.flatmap(_chunks),
        st.sampled_from([False] * 30 + [True]),
    )


def strategy(step: str, given: Stage) -> st.SearchStrategy[Call]:
    """Requests to a step. A pushed or ticked one gets them with a valid token as well, a tick seldom, for each takes long."""
    if step in PUSHED:
        return _pushes(given)
    if step in TICKED:
        return _ticks(given)
    public = _PUBLIC.get(step)
    return public(given) if public else _calls(("GET", "POST"), _anywhere)


_anywhere = st.lists(_segment(), max_size=3).map(lambda found: b"/" + b"/".join(found))


def _subscribe(given: Stage) -> st.SearchStrategy[Call]:
    confirm = _way(st.just(b"confirm"), _segment(*given.tokens["confirm"]))
    return _calls(
        ("GET", "POST", "POST"), st.one_of(st.just(b"/"), st.just(b"/"), confirm, confirm, st.just(b"/health"), _anywhere)
    )


def _unsubscribe(given: Stage) -> st.SearchStrategy[Call]:
    token, parts = _segment(*given.tokens["leave"]), st.sampled_from([b"preferences", b"keep", b"reason", b"export", b"erase"])
    form = st.sampled_from([b"sure=1", b"do=pause&name=x", b"shown=coffee&frequency=weekly", b"reason=other&words=x"])
    return _calls(("GET", "POST", "POST"), _way(token) | _way(parts, token) | _anywhere, bodies=_bodies | form)


def _track(given: Stage) -> st.SearchStrategy[Call]:
    token = _segment(*given.tokens["track"])
    hits = [_way(st.sampled_from([b"o", b"h"]), token), _way(st.just(b"k"), token, _segment(*given.tokens["target"]))]
    found = st.tuples(_near(given.tokens["track"]), _pairs).map(
        lambda f: urlencode([("sp", f[0]), *f[1]], errors="surrogatepass").encode()
    )
    sold = _way(st.just(b"c")) | found.map(lambda query: b"/c?" + query)
    return _calls(("GET", "GET", "POST"), st.one_of(*hits, *hits, sold, _anywhere), bodies=_bodies | found)


def _webhooks(given: Stage) -> st.SearchStrategy[Call]:
    """With a proof that holds, of an odd body; and anything else."""
    hooks = [contract(name) for name in webhooks.WEBHOOKS]
    signed = st.one_of(*(_signed(hook) for hook in hooks))
    path = _way(_segment(*webhooks.WEBHOOKS)) | _anywhere
    return signed | signed | _calls(("POST",), path)


def _signed(hook: WebhookContract) -> st.SearchStrategy[Call]:
    """Not signed yet: see `crossed`."""
    bodies = list(hook.bodies().values())
    places = [(body, list(paths(body))) for body in bodies]
    near = st.sampled_from(places).flatmap(
        lambda f: st.builds(changed, st.just(f[0]), st.sampled_from(f[1]), json_values | _texts)
    )
    data = st.one_of(near.map(hook.encoded), near.map(hook.encoded), st.sampled_from(bodies).map(hook.encoded), _bodies)
    return data.map(lambda body: Call(SIGN, f"/{hook.NAME}".encode(), (), (body,)))


def _pushes(given: Stage) -> st.SearchStrategy[Call]:
    event = Event("clicked", given.refs[0], 1_800_000_000_000, label="human", link=3, country="PT").to_message()
    bounce = Event("bounced", given.refs[1], 1_800_000_000_000, hard=True, code="550", provider="ses", id="a").to_message()
    sale = Event("converted", given.refs[2], 1_800_000_000_000, id="o", value=1_500_000, currency="EUR").to_message()
    sid = "ab" * 16
    requests: list[dict[str, Any]] = [
        {"campaign": CAMPAIGN, "batch": "000000"},
        {"campaign": "confirm", "batch": f"{sid}.2027-01-14", "consent": "c1"},
        {"campaign": "welcome", "batch": f"{sid}.c1"},
        {"campaign": CAMPAIGN, "batch": "r1-000000", "consent": 3},
    ]
    words = [*given.refs, "confirm", "welcome", CAMPAIGN, "opened", "delivered", "human", "000000", "r9-0", f"{sid}.x"]
    value = st.sampled_from(words) | json_values | _texts
    messages = [event, bounce, sale, *requests]
    names = sorted({name for message in messages for name in message})
    odd = st.tuples(st.sampled_from(messages), st.sampled_from(names), value).map(lambda f: {**f[0], f[1]: f[2]})
    message = st.one_of(st.sampled_from(messages), odd, odd, json_values)
    text = message.map(lambda found: base64.b64encode(json.dumps(found).encode()).decode())
    whole = text.map(_envelope)
    spoiled = st.builds(_spoiled_envelope, text | _texts, st.integers(0, 1 << 30), json_values)
    body = st.one_of(whole, whole, spoiled, spoiled, _bodies).map(
        lambda found: found if isinstance(found, bytes) else json.dumps(found).encode()
    )
    return _calls(("POST",), st.just(b"/") | _anywhere, _bearing(given, 3), body)


def _envelope(data: object) -> dict[str, Any]:
    found = {"data": data, "messageId": "1", "publishTime": "2027-01-14T00:00:00Z", "attributes": {"traceparent": "00-x"}}
    return {"message": found, "subscription": "projects/p/subscriptions/s", "deliveryAttempt": 3}


def _spoiled_envelope(data: object, chance: int, value: object) -> object:
    """One place of a push, changed; or the event of Eventarc around it."""
    whole = _envelope(data)
    where = list(paths(whole))
    found = changed(whole, where[chance % len(where)], value)
    return {"specversion": "1.0", "data": found} if chance & 1 else found


def _bearing(given: Stage, often: int) -> st.SearchStrategy[tuple[tuple[bytes, bytes], ...]]:
    """Headers with a valid token first, `often` times as often as with a spoiled one or with none."""
    good = raw(given.bearer)
    spoiled = st.integers(0, 1 << 30).map(lambda n: raw(mutated(random.Random(n), given.bearer)))
    tokens = st.one_of(*[st.just(good)] * often, spoiled)
    return st.one_of(*[st.tuples(tokens, _headers).map(lambda f: ((b"authorization", f[0]), *f[1]))] * often, _headers)


def _ticks(given: Stage) -> st.SearchStrategy[Call]:
    seldom = _calls(("POST",), st.just(b"/") | _anywhere, _bearing(given, 2))
    spoiled = st.tuples(st.integers(0, 1 << 30), _headers).map(
        lambda f: ((b"authorization", raw(mutated(random.Random(f[0]), given.bearer) + "x")), *f[1])
    )
    often = _calls(("POST", "POST", "GET"), st.just(b"/") | _anywhere, _headers | spoiled)
    return st.integers(0, 9).flatmap(lambda n: often if n else seldom)


_PUBLIC: Mapping[str, Callable[[Stage], st.SearchStrategy[Call]]] = {
    "subscribe": _subscribe,
    "unsubscribe": _unsubscribe,
    "track": _track,
    "webhooks": _webhooks,
}


def drawn(calls: st.SearchStrategy[Call], count: int, number: int) -> list[Call]:
    """`count` of them, the same for the same `number`."""
    found: list[Call] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(calls)
    def note(call: Call) -> None:
        found.append(call)

    note()
    return found[:count]


async def send(
    app: App,
    calls: Sequence[Call],
    figures: Figures,
    patience: float,
    at_once: int = AT_ONCE,
    tell: Callable[[], None] = lambda: None,
) -> None:
    """Make these calls, `at_once` side by side."""
    for start in range(0, len(calls), at_once):
        some = calls[start : start + at_once]
        for call, answer in zip(some, await asyncio.gather(*(ask(app, call, patience) for call in some)), strict=True):
            figures.note(call, answer)
        tell()


def crossed(chance: random.Random, pool: Sequence[Call], hooks: Mapping[bytes, WebhookContract]) -> Call:
    """Another request, of parts of those in the pool; signed, where it is to be."""
    call, other = chance.choice(pool), chance.choice(pool)
    body = call.body if chance.random() < 0.4 else _spoiled_body(chance, call.body, other.body)
    if call.method == SIGN:
        hook = hooks[call.target]
        signed = to_call(hook.request(body, hook.KEYS[0]))
        return signed if other.method == SIGN else replace(signed, headers=(*other.headers, *signed.headers))
    if other.method == SIGN:
        return replace(call, chunks=(body,))
    headers = other.headers if chance.random() < 0.5 else call.headers
    if chance.random() < 0.1:
        headers = (*headers, *chance.choice(pool).headers)
    method = other.method if chance.random() < 0.3 else call.method
    return replace(call, method=method, headers=headers, chunks=(body,) if body != call.body else call.chunks)


def _spoiled_body(chance: random.Random, body: bytes, other: bytes) -> bytes:
    try:
        if chance.random() < 0.6 and len(body) + len(other) < 20_000:
            data, values = json.loads(body), json.loads(other)
            value = _inside(values, chance.choice(list(paths(values))))
            return json.dumps(changed(data, chance.choice(list(paths(data))), value)).encode()
    except (ValueError, RecursionError):
        pass
    match chance.randrange(4):
        case 0:
            return flipped(chance, body, 6)
        case 1:
            return mutated(chance, body.decode("latin-1")).encode("utf-8", "surrogatepass")
        case 2:
            return body[: chance.randrange(len(body) + 1)] + other[chance.randrange(len(other) + 1) :]
    return other


def _inside(data: Any, way: Sequence[Any]) -> Any:
    for key in way:
        data = data[key]
    return data


async def fuzz(
    given: Stage, count: int, number: int, patience: float, tell: Callable[[str], None] = lambda line: None
) -> dict[str, Figures]:
    """`count` requests over all steps, in turns; the figures of each step."""
    found = {step: Figures(step) for step in given.apps}
    each, chance = -(-count // len(found)), random.Random(f"{number} requests")
    hooks = {f"/{name}".encode(): contract(name) for name in webhooks.WEBHOOKS}
    pools: dict[str, list[Call]] = {}
    for n, step in enumerate(given.apps):
        pools[step] = drawn(strategy(step, given), min(POOL, each), number + n)
        tell(f"requests: drawing those to {step}")
        await ask(given.apps[step], Call("POST", b"/", ((b"authorization", raw(given.bearer)),)), STARTING)
    while any(figures.requests < each for figures in found.values()):
        for step, figures in found.items():
            calls = [crossed(chance, pools[step], hooks) for _ in range(min(CHUNK, each - figures.requests))]
            given.at_the_contracts_time()
            at_once = 1 if step in TICKED else AT_ONCE  # Scheduler waits for the tick before
            await send(given.apps[step], calls, figures, patience, at_once, lambda: tell(_sums(found)))
    return found


def _sums(found: Mapping[str, Figures]) -> str:
    done, wrong, hung = (sum(getattr(one, name) for one in found.values()) for name in ("requests", "server_errors", "hangs"))
    return f"requests: {done:,} requests, {wrong:,} server errors, {hung:,} hangs"
