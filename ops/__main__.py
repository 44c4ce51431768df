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
def events_out(
    project: Annotated[str, typer.Option(envvar="GOOGLE_CLOUD_PROJECT", help="For --replay.")] = "",
    endpoints: Annotated[str, typer.Option(envvar="EVENTS_OUT", help="As configured, to list those that never failed too.")] = "",
    enable: Annotated[str, typer.Option(metavar="NAME", help="Post to this one again.")] = "",
    replay: Annotated[str, typer.Option(metavar="NAME", help="Send this one's dead letters again.")] = "",
    host: Annotated[str, typer.Option(envvar="PUBSUB_EMULATOR_HOST", help="An emulator in Google's place.")] = "",
) -> None:
    """Show how the endpoints are that events go out to; on the twin: STACK=embedded STATE_DIR=.twin/run TENANT=local."""
    from ops import events_out as work
    from shared import config
    from shared.model.endpoint import parse
    from shared.model.paths import Paths
    from shared.stack.clock import open_clock
    from shared.stack.store import open_store

    async def done() -> None:
        if replay:
            typer.echo(await work.replay(project, host, replay))
            return
        given = config.load(config.Base)
        store, paths = open_store(given), Paths(given.tenant)
        if enable:
            typer.echo(await work.enable(store, paths, enable))
            return
        async for line in work.listed(store, paths, parse(endpoints, local=True), open_clock(given).now()):
            typer.echo(line)

    with _told():
        asyncio.run(done())


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
def live(
    campaign: str, hours: Annotated[float, typer.Option(min=0.1, max=24 * 31, help="How long the link works.")] = 12
) -> None:
    """Print a link to a campaign's live page. Whoever has it may look. On the twin: STACK=embedded STATE_DIR=.twin/run TENANT=local
    PUBLIC_URL=http://127.0.0.1:8080."""
    from shared import config
    from shared.errors import BadInput
    from shared.links import Links
    from shared.model.campaign import usable_id
    from shared.stack.clock import open_clock
    from shared.stack.secrets import open_secrets
    from shared.tokens import Tokens

    async def work() -> str:
        if not usable_id(campaign):
            raise BadInput("A campaign is named as in its row: C-0001.")
        given = config.load(config.Base)
        clock = open_clock(given)
        links = Links(given.public_url, await Tokens.load(open_secrets(given), clock))
        return links.live(campaign, clock.now() + round(hours * 3_600_000), given.tenant)

    with _told():
        typer.echo(asyncio.run(work()))


@app.command()
def lift(
    reader: Annotated[str, typer.Argument(help="The address, or the id: 32 hex digits. No address is shown, or kept, anywhere.")],
    reason: Annotated[str, typer.Option(help="The one to take back: hard_bounce, soft_bounces or unsubscribed.")],
    by: Annotated[str, typer.Option(help="Who you are; kept with the lift.")],
    why: Annotated[str, typer.Option(help="Why it is right; kept with the lift.")],
) -> None:
    """Take a suppression back. A complaint never is. On the twin: STACK=embedded STATE_DIR=.twin/run TENANT=local."""
    from ops import lift as work
    from shared import config
    from shared.model.address import sid_of
    from shared.model.paths import Paths
    from shared.stack.clock import open_clock
    from shared.stack.secrets import only_pepper, open_secrets
    from shared.stack.store import open_store

    async def done() -> str:
        given = config.load(config.Base)
        named = work.is_sid(reader)
        sid = reader if named else sid_of(await only_pepper(open_secrets(given)), given.tenant, reader)
        return await work.lift(open_store(given), Paths(given.tenant), sid, reason, by, why, open_clock(given).now())

    with _told():
        typer.echo(asyncio.run(done()))


@app.command()
def erase(
    address: Annotated[str, typer.Option(help="The reader's, or the id: 32 hex digits. No address is shown, or kept, anywhere.")],
    by: Annotated[str, typer.Option(help="Who you are; kept with the erasure.")],
) -> None:
    """Erase a reader for good: what is kept, and what is not reached, is in docs/privacy.md. On the twin: STACK=embedded
    STATE_DIR=.twin/run TENANT=local."""
    from ops import erase as work
    from ops.lift import is_sid
    from shared import config
    from shared.model.address import parse, sid_of
    from shared.model.paths import Paths
    from shared.stack.clock import open_clock
    from shared.stack.secrets import only_pepper, open_secrets
    from shared.stack.store import open_store

    async def done() -> str:
        given = config.load(config.Base)
        sid = address if is_sid(address) else sid_of(await only_pepper(open_secrets(given)), given.tenant, parse(address))
        return await work.run(open_store(given), Paths(given.tenant), sid, by, open_clock(given).now())

    with _told():
        typer.echo(asyncio.run(done()))


@app.command()
def report(campaign: str) -> None:
    """Print a campaign's report, a table for each breakdown."""
    from ops import reports
    from shared import config
    from shared.model.paths import Paths
    from shared.stack.store import open_store

    async def work() -> None:
        given = config.load(config.Base)
        async for line in reports.shown(open_store(given), Paths(given.tenant), campaign):
            typer.echo(line)

    with _told():
        asyncio.run(work())


@app.command()
def history(
    reader: Annotated[str, typer.Argument(help="An address, which is not shown, or kept, anywhere; or a subscriber's id.")],
) -> None:
    """Print what became of every mail to a reader."""
    from ops import reports
    from shared import config
    from shared.model.address import sid_of
    from shared.model.paths import Paths
    from shared.stack.secrets import only_pepper, open_secrets
    from shared.stack.store import open_store

    async def work() -> None:
        given = config.load(config.Base)
        sid = reader if reports.is_sid(reader) else sid_of(await only_pepper(open_secrets(given)), given.tenant, reader)
        async for line in reports.history(open_store(given), Paths(given.tenant), sid):
            typer.echo(line)

    with _told():
        asyncio.run(work())


@app.command()
def export(
    what: Annotated[str, typer.Argument(help="A tab of the workbook, or the word segment.")],
    name: Annotated[str, typer.Argument(help="Of the segment.")] = "",
    out: Annotated[Path | None, typer.Option(help="A file. None: kept beside the mails, under exports/.")] = None,
    endpoint: Annotated[str, typer.Option(envvar="SHEETS_ENDPOINT", help="An emulator in Google's place.", hidden=True)] = "",
) -> None:
    """Write a tab, or who is in a segment and may be mailed, as CSV with whole addresses; `export segment everyone` is the whole list.
    On the twin: STACK=embedded STATE_DIR=.twin/run TENANT=local SHEETS_ENDPOINT=http://127.0.0.1:8080."""
    from ops import export as work
    from shared import config

    with _told():
        typer.echo(asyncio.run(work.run(config.load(config.Base), what, name, out, endpoint)))


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
