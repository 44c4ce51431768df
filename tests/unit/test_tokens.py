"""Tokens: one purpose each, one spelling each, and keys that rotate."""

from __future__ import annotations

import asyncio
import hmac
import string
from hashlib import sha256
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import Signer
from itsdangerous.signer import SigningAlgorithm

from shared.adapters.secret_manager import SecretManager
from shared.errors import BadToken, ConfigError, Unavailable
from shared.ports import HAND_OVER, SECRET_AGE, Secret
from shared.tokens import MIN_KEY, PURPOSES, Purpose, Tokens
from tests.steps.fakes import DAY, HOUR, NOW, FakeClock, FakeSecrets

OLD, NEW = b"o" * 32, b"n" * 32
PAYLOAD = "C-0001~q6urq6urq6urq6urq6urqw~k.1"
GOLDEN = "abc.def.Fj5WdOhDLBhc6IzblDbJRA"


def test_a_token_never_changes_its_form() -> None:
    assert Tokens([OLD]).sign("track", "abc.def") == GOLDEN
    key = sha256(b"subscriber-pipeline track\0" + OLD).digest()
    assert hmac.new(key, b"abc.def", "sha256").digest()[:16].hex() == "163e5674e8432c185ce88cdb9436c944"


@given(
    st.lists(st.binary(min_size=MIN_KEY, max_size=99), min_size=1, max_size=3),
    st.lists(st.sampled_from(PURPOSES), max_size=5),
    st.text(alphabet=string.ascii_letters + string.digits + "-_.~/", max_size=200),
)
def test_a_token_is_what_itsdangerous_makes(keys: list[bytes], purposes: list[Purpose], payload: str) -> None:
    """With the purposes' keys derived here, so that nothing of ours is on both sides."""

    class Cut(SigningAlgorithm):
        def get_signature(self, key: bytes, value: bytes) -> bytes:
            return hmac.new(key, value, "sha256").digest()[:16]

    signers = [
        Signer(sha256(f"subscriber-pipeline {purpose}\0".encode() + keys[0]).digest(), key_derivation="none", algorithm=Cut())
        for purpose in purposes
    ]
    tokens = Tokens(keys)
    wanted = [(purpose, payload[n:]) for n, purpose in enumerate(purposes)]
    made = [signer.sign(text).decode() for signer, (_, text) in zip(signers, wanted, strict=True)]
    assert tokens.sign_each(wanted) == [tokens.sign(*one) for one in wanted] == made


@given(st.text(alphabet=string.ascii_letters + string.digits + "-_.~/", max_size=80), st.sampled_from(PURPOSES))
def test_what_was_signed_is_read_back(payload: str, purpose: Purpose) -> None:
    tokens = Tokens([OLD])
    assert tokens.verify(purpose, tokens.sign(purpose, payload)) == payload


@pytest.mark.parametrize(("made", "used"), [*permutations(PURPOSES, 2)])
def test_a_token_is_worth_nothing_for_another_purpose(made: Purpose, used: Purpose) -> None:
    tokens = Tokens([OLD])
    with pytest.raises(BadToken):
        tokens.verify(used, tokens.sign(made, PAYLOAD))


def test_any_changed_character_is_refused() -> None:
    tokens = Tokens([OLD])
    token = tokens.sign("leave", PAYLOAD)
    for at in range(len(token)):
        for other in string.ascii_letters + string.digits + "-_.~!= ":
            changed = token[:at] + other + token[at + 1 :]
            if changed != token:
                with pytest.raises(BadToken):
                    tokens.verify("leave", changed)


def test_any_shorter_or_longer_token_is_refused() -> None:
    tokens = Tokens([OLD])
    token = tokens.sign("leave", PAYLOAD)
    wrong = [token[:n] for n in range(len(token))] + [token[n:] for n in range(1, len(token))]
    wrong += [token + more for more in ("A", "=", "==", "\n", " ", ".", "\u00e9", "\ud800", "AAAA")]
    wrong += [more + token for more in ("A", ".", "\n")]
    wrong += [token[:-5] + more + token[-5:] for more in ("!", "\n", "=", " ")]
    for text in wrong:
        with pytest.raises(BadToken):
            tokens.verify("leave", text)


def test_the_first_key_signs_and_all_verify() -> None:
    before, during, after = Tokens([OLD]), Tokens([NEW, OLD]), Tokens([NEW])
    old, new = before.sign("track", PAYLOAD), during.sign("track", PAYLOAD)
    assert during.verify("track", old) == during.verify("track", new) == after.verify("track", new) == PAYLOAD
    for tokens, token in ((before, new), (after, old)):
        with pytest.raises(BadToken):
            tokens.verify("track", token)


class Rotation:
    """One signing key in a Secret Manager, a clock, and processes that read it, each with what it keeps."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.versions = [Secret(OLD, NOW - DAY)]
        self.down = False

    async def process(self) -> Tokens:
        return await Tokens.load(SecretManager(self._read, lambda: self.clock.now() / 1000), self.clock)

    async def _read(self, name: str) -> list[Secret]:
        if self.down:
            raise Unavailable("Secret Manager")
        found = list(self.versions)
        await asyncio.sleep(0)
        return found


async def test_every_link_works_in_every_process_at_every_moment_of_a_rotation() -> None:
    """Processes that read the keys at other times, some idle for longer than a hand-over, and one that starts now; each does three
    things at once. The service is away when some refresh."""
    world = Rotation()
    added = NOW + SECRET_AGE * 3 + 10_000  # a moment after a refresh
    away = range(NOW + SECRET_AGE * 4 - 20_000, NOW + SECRET_AGE * 5 - 60_000)
    processes = []
    for _ in range(4):
        processes.append(await world.process())
        world.clock.advance(SECRET_AGE // 4)
    idle = [await world.process() for _ in range(12)]
    made: set[str] = set()
    signed_by: list[tuple[int, bool]] = []

    async def work(process: Tokens) -> None:
        await process.fresh()
        for token in made:
            assert process.verify("leave", token) == PAYLOAD

    while world.clock.now() < NOW + SECRET_AGE * 8:
        if world.clock.now() == added:
            world.versions.insert(0, Secret(NEW, added))
        world.down = world.clock.now() in away
        newcomer = [] if world.down else [await world.process()]
        tick = world.clock.now() // 10_000
        awake = [process for n, process in enumerate(idle) if (tick + 6 * n) % 72 == 0]  # each once in 12 minutes
        for process in processes + newcomer:
            await process.fresh()
            made.add(process.sign("leave", PAYLOAD))
            signed_by.append((world.clock.now(), process.sign("leave", PAYLOAD) == Tokens([NEW]).sign("leave", PAYLOAD)))
        await asyncio.gather(*(work(process) for process in (processes + newcomer + awake) * 3))
        world.clock.advance(10_000)
    assert {new for _, new in signed_by} == {True, False}
    assert all(new == (at >= added + HAND_OVER) for at, new in signed_by), "all change over at the same moment"


async def test_a_first_key_signs_at_once_and_a_key_taken_back_does_not() -> None:
    world = Rotation()
    world.versions = [Secret(OLD, NOW)]
    tokens = await world.process()
    assert tokens.sign("track", "abc.def") == GOLDEN
    world.versions.insert(0, Secret(NEW, NOW))
    world.clock.advance(HAND_OVER)
    await tokens.fresh()
    token = tokens.sign("track", "abc.def")
    assert token != GOLDEN
    world.versions.pop(0)
    world.clock.advance(SECRET_AGE)
    await tokens.fresh()
    assert tokens.sign("track", "abc.def") == GOLDEN
    with pytest.raises(BadToken):
        tokens.verify("track", token)


async def test_keys_that_cannot_be_refreshed_call_no_token_false_from_the_hand_over_on() -> None:
    world = Rotation()
    tokens = await world.process()
    token, other = Tokens([OLD]).sign("leave", PAYLOAD), Tokens([NEW]).sign("leave", PAYLOAD)
    world.down = True
    world.clock.advance(HAND_OVER - 1)
    await tokens.fresh()
    with pytest.raises(BadToken):
        tokens.verify("leave", other)
    world.clock.advance(HOUR)
    await asyncio.gather(*(tokens.fresh() for _ in range(3)))
    assert tokens.verify("leave", token) == PAYLOAD and tokens.sign("leave", PAYLOAD) == token
    with pytest.raises(Unavailable, match="signing-key"):
        tokens.verify("leave", other)
    with pytest.raises(BadToken):
        tokens.verify("leave", "no token under any key")
    world.down = False
    world.clock.advance(HOUR)
    await tokens.fresh()
    with pytest.raises(BadToken):
        tokens.verify("leave", other)


@pytest.mark.parametrize("key", [b"", b"k" * (MIN_KEY - 1)])
async def test_a_short_key_is_refused_and_its_secret_named(key: bytes) -> None:
    with pytest.raises(ConfigError, match="secret signing-key"):
        await Tokens.load(FakeSecrets(signing_key=[OLD, key]), FakeClock())
    world = Rotation()
    tokens = await world.process()
    world.versions.insert(0, Secret(key, NOW))
    world.clock.advance(SECRET_AGE)
    with pytest.raises(ConfigError, match="secret signing-key"):
        await tokens.fresh()
    assert Tokens([b"k" * MIN_KEY]).sign("track", "a")


async def test_a_generation_ends_when_another_key_signs_and_no_sooner() -> None:
    world = Rotation()
    tokens = await world.process()
    seen = [tokens.generation]
    world.versions.insert(0, Secret(NEW, NOW))
    for _ in range(4):
        world.clock.advance(SECRET_AGE)
        await tokens.fresh()
        seen.append(tokens.generation)
    assert seen == [1, 1, 2, 2, 2]


async def test_given_keys_need_no_refresh() -> None:
    tokens = Tokens([OLD])
    await tokens.fresh()
    assert tokens.sign("track", "abc.def") == GOLDEN
