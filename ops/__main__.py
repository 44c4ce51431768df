"""`python -m ops --help`: what an operator does to a product on Google Cloud. Each command's module says more.

The product is named as to a step, by STACK, GOOGLE_CLOUD_PROJECT, TENANT and PUBLIC_URL; credentials are Google's default ones.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ops.bootstrap import bootstrap

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)
release = typer.Typer(no_args_is_help=True, help="Give new revisions their traffic in stages, or take it back.")
app.add_typer(release, name="release")
app.command()(bootstrap)

Project = Annotated[str, typer.Option(envvar="GOOGLE_CLOUD_PROJECT")]
Address = Annotated[
    str, typer.Option(envvar="SMOKE_ADDRESS", help="Yours; signed up with +smoke-RUN before the @. Empty: left out.")
]
Run = Annotated[str, typer.Option(envvar="BUILD_ID", help="Makes the address unique. Empty: something random.")]
Endpoints = Annotated[str, typer.Option(envvar="ENDPOINTS", help="terraform output -json endpoints. Empty: left out.")]
Regions = Annotated[str, typer.Option(envvar="REGIONS", help="As JSON or with commas. Only the nearest one is asked.")]
Patience = Annotated[float, typer.Option(min=0, envvar="SMOKE_PATIENCE", help="Seconds that the mail of a sign-up may take.")]
Plan = Annotated[Path, typer.Argument(help="What terraform show -json has printed.")]
File = Annotated[Path, typer.Option(help="Remembers the release.")]
RunApi = Annotated[str, typer.Option(envvar="CLOUD_RUN_ENDPOINT", help="A double in Google's place.", hidden=True)]
RECORD = Path("build/release.json")


@contextmanager
def _told() -> Iterator[None]:
    """What cannot be done is one sentence on standard error, and exit status 1."""
    from ops.release import Stopped
    from shared.errors import PipelineError

    try:
        yield
    except (PipelineError, Stopped) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None


@app.command()
def dead_letters(
    subscription: Annotated[str, typer.Argument(help="The push subscription, which is named after its step.")],
    project: Project,
    replay: Annotated[bool, typer.Option(help="Send them all again.")] = False,
    host: Annotated[str, typer.Option(envvar="PUBSUB_EMULATOR_HOST", help="An emulator in Google's place.")] = "",
) -> None:
    """Show, or replay, what a step has refused for good."""
    from local.dead_letters import operated

    with _told():
        for line in asyncio.run(operated(project, host, subscription, replay)):
            typer.echo(line)


@app.command()
def trace(
    campaign: str, address: Annotated[str, typer.Argument(help="The reader's. It is not shown, or kept, anywhere.")]
) -> None:
    """Say why a reader got, or did not get, a campaign's mail. On the twin: STACK=embedded STATE_DIR=.twin/run TENANT=local."""
    from ops.trace import Trace
    from shared import config
    from shared.model.address import sid_of
    from shared.model.paths import Paths
    from shared.stack.secrets import only_pepper, open_secrets
    from shared.stack.store import open_store

    async def work() -> None:
        given = config.load(config.Base)
        sid = sid_of(await only_pepper(open_secrets(given)), given.tenant, address)
        async for line in Trace(open_store(given), Paths(given.tenant), sid).of(campaign):
            typer.echo(line)

    with _told():
        asyncio.run(work())


@app.command()
def smoke(
    address: Address = "",
    run: Run = "",
    endpoints: Endpoints = "",
    regions: Regions = "",
    patience: Patience = 180,
    mail: bool = True,
) -> None:
    """Check a deployed product from outside; exit status 1 when a check fails."""

    from ops.release import words
    from ops.smoke import opened
    from shared import config

    async def work() -> bool:
        given, whose, where = config.load(config.Base), address if mail else "", words(regions)
        async with opened(given, whose, run or secrets.token_hex(4), endpoints, where, patience, typer.echo) as checks:
            return await checks.passed(mail=mail)

    with _told():
        if not asyncio.run(work()):
            raise typer.Exit(1)


@app.command()
def rehearse(
    steps: Annotated[list[str] | None, typer.Argument(help="Their ids. None: those without an account.")] = None,
) -> None:
    """Run the steps of cloudbuild.yaml that need no account, here."""
    from ops.rehearse import ALONE, rehearse

    raise typer.Exit(rehearse(steps or ALONE))


@release.command()
def changed(plan: Plan) -> None:
    """Print the steps whose function the plan updates, as a JSON list for -var hold=…"""

    from ops.release import changed, read_plan

    with _told():
        typer.echo(json.dumps(changed(read_plan(plan))))


@release.command()
def settings(plan: Plan) -> None:
    """Print what the other commands read from the environment, as lines for a shell."""

    from ops.release import read_plan, settings

    with _told():
        for line in settings(read_plan(plan)):
            typer.echo(line)


@release.command()
def pin(
    project: Project,
    steps: Annotated[str, typer.Option(help='As JSON, ["record"], or with commas.')],
    regions: Annotated[str, typer.Option(envvar="REGIONS", help="As JSON or with commas; the first holds every step.")],
    file: File = RECORD,
    force: Annotated[bool, typer.Option(help="Even when another release has not ended.")] = False,
    endpoint: RunApi = "",
) -> None:
    """Before terraform apply: keep the traffic of these steps on the revisions that serve now."""

    from ops.cloud_run import CloudRun
    from ops.release import Release, words
    from shared.errors import ConfigError

    with _told():
        where = words(regions)
        if not where:
            raise ConfigError("REGIONS is not set")
        asyncio.run(Release(CloudRun(endpoint), file, typer.echo).pin(project, where, words(steps), force))


@release.command()
def shift(
    address: Address = "",
    run: Run = "",
    endpoints: Endpoints = "",
    regions: Regions = "",
    patience: Patience = 180,
    file: File = RECORD,
    endpoint: RunApi = "",
) -> None:
    """After terraform apply: 0, 10, 50, 100% to the new revisions, with smoke checks; all back when one fails."""

    from ops.cloud_run import CloudRun
    from ops.release import Release, words
    from ops.smoke import opened
    from shared import config

    async def work() -> None:
        given, where = config.load(config.Base), words(regions)
        async with opened(given, address, run or secrets.token_hex(4), endpoints, where, patience, typer.echo) as checks:
            await Release(CloudRun(endpoint), file, typer.echo).shift(checks)

    with _told():
        asyncio.run(work())


@release.command()
def rollback(file: File = RECORD, endpoint: RunApi = "") -> None:
    """Give all traffic back to the revisions that served before; again is harmless."""

    from ops.cloud_run import CloudRun
    from ops.release import Release

    with _told():
        asyncio.run(Release(CloudRun(endpoint), file, typer.echo).rollback())


if __name__ == "__main__":
    app()
