"""What differs between the twin's two stacks: where data is kept, who carries messages, where the steps run. Nothing else knows.

embedded    SQLite files, our own bus, every step mounted in the twin's process; all survives kill -9
emulators   the official Firestore and Pub/Sub emulators, every step a process of its own; nothing outlives the twin
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from functions_framework.aio import create_asgi_app_from_module
from rich.console import Console
from starlette.routing import BaseRoute

from local.bus import DeadLetter, Delivered, LocalBus, Subscription
from local.crowd import Crowd
from local.steps import ACK_DEADLINE, PUBLIC
from shared.adapters.embedded import FileClock
from shared.ports import Clock

Name: TypeAlias = Literal["embedded", "emulators"]
App: TypeAlias = Callable[..., Awaitable[None]]


class Bus(Protocol):
    """What the twin and its pages ask of either bus; `local.bus.LocalBus` says what each means."""

    async def start(self) -> None: ...
    async def stop(self, grace: float = 5.0) -> None: ...
    async def pending(self) -> dict[str, int]: ...
    async def recent(self, limit: int = 100) -> list[Delivered]: ...
    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]: ...
    async def replay(self, id: int | None = None) -> int: ...


@dataclass(frozen=True)
class Plan:
    """What either stack is told. `url` is the twin's; `pushed`: subscription -> its step, its topic; `sign` makes a token."""

    state: Path
    url: str
    steps: Sequence[str]
    pushed: Mapping[str, tuple[str, str]]
    sign: Callable[[str], str]

    def subscriptions(self, endpoint: Callable[[str], str]) -> list[Subscription]:
        """The push subscriptions; `endpoint` tells where a step is reached."""
        return [
            Subscription(
                name, topic, endpoint(step), self.url, ack_deadline=ACK_DEADLINE.get(step, 60), min_backoff=0.5, max_backoff=30
            )
            for name, (step, topic) in self.pushed.items()
        ]


@dataclass(frozen=True)
class Services:
    """What the steps stand on. The bus is not started yet; `settings` lead the steps to the rest; `routes` are for the twin's
    server."""

    bus: Bus
    settings: Mapping[str, str]
    routes: Sequence[BaseRoute] = field(default=())


class Stack(Protocol):
    """One stack, for one run of the twin."""

    @property
    def clock(self) -> Clock:
        """The steps' clock."""
        ...

    def endpoint(self, step: str) -> str:
        """Where Pub/Sub and Scheduler reach a step."""
        ...

    def services(self) -> AbstractAsyncContextManager[Services]:
        """Bring up what the steps need. Raises Broken."""
        ...

    def steps(self, settings: Mapping[str, str]) -> AbstractAsyncContextManager[Mapping[str, App]]:
        """Bring up the steps with these environment variables: step -> the app that answers `/{step}/…`. Raises Broken."""
        ...


def prepare(name: Name, steps: Sequence[str], out: Console) -> None:
    """See that a stack can run on this machine, and install what it needs, once. Raises Broken."""
    if name == "emulators":
        from local import emulated

        emulated.prepare(steps, out)


def chosen(name: Name, plan: Plan) -> Stack:
    """The stack of that name."""
    if name == "embedded":
        return Embedded(plan)
    from local.emulated import Emulated  # with Google's clients: most of a second

    return Emulated(plan)


class Embedded:
    """Everything in the twin's process and its state folder."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._crowd = Crowd()
        self.clock = FileClock(plan.state / "clock")

    def endpoint(self, step: str) -> str:
        return f"{self._plan.url}/{step}"

    @asynccontextmanager
    async def services(self) -> AsyncIterator[Services]:
        plan = self._plan
        bus = LocalBus(plan.state / "bus.db", plan.subscriptions(self.endpoint), plan.sign, after=self._crowd.gone)
        settings = {"STACK": "embedded", "STATE_DIR": str(plan.state), "ASSETS_URL": f"{plan.url}/assets"}
        yield Services(bus, settings)

    @asynccontextmanager
    async def steps(self, settings: Mapping[str, str]) -> AsyncIterator[Mapping[str, App]]:
        apps = framework_apps(self._plan.steps)  # they read the twin's own environment
        yield apps | {step: self._crowd.counted(apps[step]) for step in PUBLIC}


def framework_apps(steps: Sequence[str]) -> dict[str, App]:
    """Each step's functions-framework app, in this process."""
    apps: dict[str, App] = {}
    for step in steps:
        module = importlib.import_module(f"functions.{step}.main")
        apps[step] = create_asgi_app_from_module(step, module.__file__, "http", module, module.__spec__)  # type: ignore[no-untyped-call]
    return apps
