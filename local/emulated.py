"""The twin on Google's own emulators: the same adapters, push subscriptions and staged folders that a deployment has.

Firestore and Pub/Sub are Google's emulators, Cloud Storage and Secret Manager are doubles of ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from local import emulators, processes, seed
from local.environments import Broken
from local.google.cloud_storage import cloud_storage
from local.google.secret_manager import secret_manager
from local.processes import Processes
from local.proxy import Proxy
from local.pubsub import PubsubBus
from local.stacks import App, Plan, Services
from shared.adapters.system_clock import SystemClock

PROJECT = "twin"
BUCKET = "twin-objects"
T = TypeVar("T")


def prepare(steps: Sequence[str], out: Console) -> None:
    """See that the emulators are installed; make the steps' environments, with a bar. Raises Broken."""
    if lacking := emulators.missing():
        raise Broken(f"{lacking} make demo and make run work without, on STACK=embedded.")
    missing = processes.missing(steps)
    if not missing:
        return
    columns = (TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out) as bar:
        task = bar.add_task("Environments of the steps (once)", total=len(missing))
        for _ in processes.install(missing):
            bar.advance(task)


class Emulated:
    """The emulators, and a process for each step."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._processes = Processes(plan.state, plan.steps)
        self.clock = SystemClock()

    def endpoint(self, step: str) -> str:
        return f"{self._processes.url(step)}/"

    @asynccontextmanager
    async def services(self) -> AsyncIterator[Services]:
        plan = self._plan
        async with AsyncExitStack() as opened:
            try:
                google = await opened.enter_async_context(_in_thread(emulators.emulators(plan.state / "emulators")))
            except RuntimeError as error:
                raise Broken(str(error)) from None
            storage = await opened.enter_async_context(cloud_storage(BUCKET))
            secrets = await opened.enter_async_context(secret_manager(seed.secrets(plan.state)))
            bus = PubsubBus(
                plan.state / "bus.db",
                PROJECT,
                google.pubsub,
                plan.subscriptions(self.endpoint),
                plan.sign,
                forwarder=plan.url,
            )
            settings = {
                "STACK": "google",
                "STATE_DIR": "",
                "GOOGLE_CLOUD_PROJECT": PROJECT,
                "BUCKET": BUCKET,
                "FIRESTORE_EMULATOR_HOST": google.firestore,
                "PUBSUB_EMULATOR_HOST": google.pubsub,
                "STORAGE_EMULATOR_HOST": storage.address,
                "SECRET_MANAGER_EMULATOR_HOST": secrets.address,
                "TRUSTED_HOPS": "1",  # the twin's proxy
            }
            yield Services(bus, settings, bus.routes())

    @asynccontextmanager
    async def steps(self, settings: Mapping[str, str]) -> AsyncIterator[Mapping[str, App]]:
        proxies = {step: Proxy(self._processes.url(step)) for step in self._plan.steps}
        try:
            await self._processes.start(settings)
            yield proxies
        finally:
            for proxy in proxies.values():
                await proxy.close()
            await self._processes.stop()


@asynccontextmanager
async def _in_thread(context: AbstractContextManager[T]) -> AsyncIterator[T]:
    """A context that blocks; what was entered is left again, even when nobody waited for it to the end."""
    entering = asyncio.create_task(asyncio.to_thread(context.__enter__))
    try:
        try:
            yield await asyncio.shield(entering)
        finally:
            await asyncio.wait([entering])
    finally:
        if not entering.exception():
            await asyncio.to_thread(context.__exit__, None, None, None)
