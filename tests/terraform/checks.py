"""What is wrong with a plan of terraform/, in plain sentences: `faults`. The themes are in checks_*.py; here are the steps themselves,
their settings, what calls them, and the times that hang together."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from functions.inbox import handler as inbox
from functions.privacy import handler as privacy
from functions.report import handler as report
from local import dead_letters
from shared import config
from shared.errors import ConfigError
from tests.terraform import checks_data, checks_front, checks_iam, checks_watch
from tests.terraform.facts import Facts
from tests.terraform.seen import GIVEN, Seen, Table, at, compare, differing, number, service
from tests.terraform.workspace import Instance, Plan

Check = Callable[[Seen], Iterator[str]]

# Settings that no step needs to be given on Google, and why. One that every step is given is a fault.
WAIVED: Mapping[str, str] = {
    "state_dir": "the embedded stack's",
    "firestore_emulator_host": "an emulator's",
    "pubsub_emulator_host": "an emulator's",
    "storage_emulator_host": "an emulator's",
    "secret_manager_emulator_host": "an emulator's",
    "sheets_endpoint": "a double's",
    "drive_endpoint": "a double's",
    "push_certs": "for PUSH_AUTH=oidc, which Google's front end makes needless",
    "k_service": "Cloud Run sets it",
    "spamd_host": "a SpamAssassin of one's own is offered, and none is made",
    "geo_database": "the bundled countries are meant",
    "attribution_days": "30 are meant",
    "live_viewers": "the default goes with the function's concurrency, see `times`",
    "live_seconds": "the default goes with the function's timeout, see `times`",
    "live_reads": "the default is what docs/live.md promises",
    "trusted_hops": "a private step reads no X-Forwarded-For",
    "firestore_database": "of a step without documents",
    "bucket": "of a step without files",
    "lease_ms": "the default goes with the ack deadline, see `times`",
    "budget_ms": "the default goes with the ack deadline, see `times`",
    "retry_ms": "the default is for real mail servers",
    "wait_ms": "the default is for real mail servers",
    "refresh_ms": "the default is for the real Sheets API",
}
_FRAMEWORK = {"FUNCTION_USE_ASGI": "1", "LOG_EXECUTION_ID": "false"}  # read by the functions framework, not by a step


MINUTES = {"launch": 1, "inbox": 5, "report": 5, "sync_sheet": 1}  # docs/reports.md counts on its five
LONGEST = {
    "inbox": inbox.LONGEST,
    "report": report.BUDGET / 1000,
    "privacy": privacy.BUDGET / 1000,
}  # seconds of a tick, or a push
WINDOW = 240  # seconds for one window of 50 mails, with a mail server that takes nearly five for each


def functions(seen: Seen) -> Iterator[str]:
    """Each step is deployed once, a public one in every region, from its own source and as an account of its own."""
    wanted = {(step, seen.region) for step in seen.facts.triggers}
    wanted |= {(step, region) for step in seen.facts.public for region in seen.variables["regions"]}
    yield from compare("functions", set(seen.functions), wanted)
    for (step, region), one in seen.functions.items():
        if step in seen.facts.triggers:
            yield from _function(seen, step, region, one)


def _function(seen: Seen, step: str, region: str, one: Instance) -> Iterator[str]:
    who = f"{step} in {region}"
    public = step in seen.facts.public
    ingress = "ALLOW_INTERNAL_ONLY" if not public else "ALLOW_INTERNAL_AND_GCLB" if seen.domain else "ALLOW_ALL"
    builder = f"projects/{seen.project}/serviceAccounts/build-functions@{seen.project}.iam.gserviceaccount.com"
    wanted = {
        "name": service(step),
        "build_config.entry_point": step,
        "build_config.service_account": builder,
        "build_config.docker_repository": f"projects/{seen.project}/locations/{region}/repositories/functions",
        "service_config.service_account_email": seen.account(step),
        "service_config.ingress_settings": ingress,
        "service_config.all_traffic_on_latest_revision": step not in seen.variables["hold"],
        "service_config.available_memory": GIVEN,
        "service_config.available_cpu": GIVEN,
        "service_config.max_instance_request_concurrency": GIVEN,  # without it, one request at a time
        "service_config.max_instance_count": GIVEN,
        "service_config.timeout_seconds": GIVEN,
    }
    yield from differing(who, one.values, wanted)
    runtime = re.fullmatch(r"python3(\d+)", str(at(one.values, "build_config.runtime")))
    if runtime is None or int(runtime[1]) < 11:
        yield f"{who}: the code needs Python 3.11 or newer, not {at(one.values, 'build_config.runtime')}."
    yield from _source(seen, step, one)
    many = at(one.values, "service_config.max_instance_request_concurrency") != 1
    if many and number(at(one.values, "service_config.available_cpu")) < 1:
        yield f"{who}: an instance with less than one CPU takes one request at a time."


def _source(seen: Seen, step: str, one: Instance) -> Iterator[str]:
    """Its own archive, named by what is in it: otherwise a change of the code would change nothing."""
    given = at(one.values, "build_config.source.storage_source.object")
    bucket = at(one.values, "build_config.source.storage_source.bucket")
    source = seen.one("google_storage_bucket_object", name=given)
    if not re.fullmatch(rf"{step}-[0-9a-f]{{64}}\.zip", str(given)) or not str(source.get("source")).endswith(
        f"/build/{step}.zip"
    ):
        yield f"{step}: its source is {given}, not build/{step}.zip named by its hash."
    if not source or source["bucket"] != bucket or bucket != f"{seen.project}-sources":
        yield f"{step}: its source is not in the bucket that the function reads."


def settings(seen: Seen) -> Iterator[str]:
    """A step's own Config loads from what it is given, nothing is given that it does not read, and each value is the right one."""
    waived: set[str] = set()
    for (step, region), one in seen.functions.items():
        if step not in seen.facts.configs:
            continue
        given = _given(one)
        cls = seen.facts.configs[step]
        try:
            config.load(cls, {**given, "K_SERVICE": service(step)})
        except ConfigError as error:
            yield f"{step} in {region} does not start: {error}."
        fields = {field.name for field in dataclasses.fields(cls)}
        for name in sorted(given.keys() - _FRAMEWORK.keys() - {field.upper() for field in fields}):
            yield f"{step} in {region} is given {name}, which nothing reads."
        left_out = {field for field in fields if field.upper() not in given}
        waived |= left_out
        for name in sorted(left_out - WAIVED.keys()):
            yield f"{step} in {region} is not given {name.upper()}."
        wanted = _environment(seen, step)
        yield from differing(f"{step} in {region}", given, wanted)
        for name in sorted(given.keys() - wanted.keys()):
            yield f"{step} in {region} is given {name}, and no check knows what it has to be."
    for name in sorted(WAIVED.keys() - waived):
        yield f"The waiver of {name} is not needed."


def _given(one: Instance) -> Mapping[str, str]:
    given = at(one.values, "service_config.environment_variables")
    return given if isinstance(given, Mapping) else {}


def _environment(seen: Seen, step: str) -> Mapping[str, Any]:
    """What a step's environment has to be, but for its own settings with defaults."""
    wanted = {
        **_FRAMEWORK,
        "STACK": "google",
        "TENANT": seen.variables["tenant"],
        "PUBLIC_URL": seen.public_url,
        "GOOGLE_CLOUD_PROJECT": seen.project,
    }
    if step in seen.facts.public:
        wanted["TRUSTED_HOPS"] = "2" if seen.domain else "1"
    else:
        wanted |= {
            "PUSH_AUTH": "iam",
            "PUSH_ISSUER": "https://accounts.google.com",
            "PUSH_AUDIENCE": seen.endpoint(step),
            "PUSH_EMAIL": seen.caller(step),
        }
    if seen.facts.calls[step].store:
        wanted["FIRESTORE_DATABASE"] = seen.database
    if seen.facts.calls[step].objects:
        wanted["BUCKET"] = f"{seen.project}-objects"
    if step in ("send_batch", "launch"):
        given = seen.variables["mail_providers"]
        wanted["PROVIDERS"] = json.dumps(given, separators=(",", ":"), sort_keys=True)  # as Terraform writes it
        dkim = seen.variables["dkim"] or {"domain": "", "selector": ""}
        wanted |= {"DKIM_DOMAIN": dkim["domain"], "DKIM_SELECTOR": dkim["selector"]}
        wanted["BOUNCE_DOMAIN"] = seen.variables["bounce_domain"] or ""
    if step == "launch":
        front = seen.public_url if seen.domain else f"https://storage.googleapis.com/{seen.project}-assets"
        wanted |= {"ASSETS_BUCKET": f"{seen.project}-assets", "ASSETS_URL": f"{front}/assets"}
    if step == "track":
        wanted["CONVERSION_DOMAINS"] = ",".join(seen.variables["conversion_domains"])
    if step == "privacy":
        wanted["RETENTION_DAYS"] = str(seen.variables["retention_days"])
    if step == "inbox":
        wanted |= {f"IMAP_{name.upper()}": str(given) for name, given in seen.variables["inbox"].items()}
    if step == "notify":
        wanted["EVENTS_OUT"] = json.dumps(seen.variables["events_out"], separators=(",", ":"), sort_keys=True)
    return wanted


def triggers(seen: Seen) -> Iterator[str]:
    """Pub/Sub pushes to each consumer and gives up to its dead letters; the Scheduler calls each ticked step."""
    names = {one.values["name"] for one in seen.plan.of("google_pubsub_subscription")}
    writing = {"bigquery"} if seen.variables["bigquery"] else set()
    yield from compare("subscriptions", names, seen.subscriptions.keys() | writing | seen.dead)
    for name, (step, topic) in seen.subscriptions.items():
        yield from _pushed(seen, name, step, topic)
        yield from dead(seen, dead_letters.dead(name))
    jobs = {one.values["name"] for one in seen.plan.of("google_cloud_scheduler_job")}
    yield from compare("scheduler jobs", jobs, {f"tick-{service(step)}" for step in seen.facts.ticked})
    for step in seen.facts.ticked:
        wanted = {
            "region": seen.region,
            "schedule": f"*/{MINUTES[step]} * * * *",
            "time_zone": "Etc/UTC",
            "paused": seen.variables["paused"],
            "retry_config.retry_count": 0,
            "http_target.http_method": "POST",
            "http_target.uri": seen.endpoint(step),
            "http_target.oidc_token.audience": seen.endpoint(step),
            "http_target.oidc_token.service_account_email": seen.caller(step),
        }
        yield from differing(f"the tick of {step}", seen.one("google_cloud_scheduler_job", name=f"tick-{service(step)}"), wanted)


def _pushed(seen: Seen, name: str, step: str, topic: str) -> Iterator[str]:
    found = seen.one("google_pubsub_subscription", name=name)
    pushing: dict[str, Any] = {
        "push_config.push_endpoint": seen.endpoint(step),
        "push_config.oidc_token.audience": seen.endpoint(step),
        "push_config.oidc_token.service_account_email": seen.caller(step),
    }
    wanted = {
        "topic": f"projects/{seen.project}/topics/{topic}",
        "message_retention_duration": "2678400s",  # 31 days, through an outage or a pause
        "expiration_policy.ttl": "",  # never
        "retry_policy.minimum_backoff": "10s",
        "retry_policy.maximum_backoff": "600s",
        "dead_letter_policy.dead_letter_topic": f"projects/{seen.project}/topics/{dead_letters.dead(name)}",
        "dead_letter_policy.max_delivery_attempts": 100,
        **({"push_config": []} if seen.variables["paused"] else pushing),
    }
    yield from differing(f"the push {name} of {topic} to {step}", found, wanted)


def dead(seen: Seen, name: str) -> Iterator[str]:
    """What is given up waits for an operator, under the name of its topic."""
    wanted = {
        "topic": f"projects/{seen.project}/topics/{name}",
        "message_retention_duration": "2678400s",  # 31 days
        "expiration_policy.ttl": "",
        "ack_deadline_seconds": 60,  # an operator's replay needs more than ten seconds
        "push_config": [],
        "dead_letter_policy": [],
    }
    yield from differing(f"the dead letters {name}", seen.one("google_pubsub_subscription", name=name), wanted)


_EVENTS: Table = {
    "google_bigquery_dataset.engagement": {"dataset_id": "engagement", "delete_contents_on_destroy": None},
    "google_bigquery_table.events": {
        "dataset_id": "engagement",
        "table_id": "events",
        "clustering": ["type", "ref"],
        "require_partition_filter": True,
        "deletion_protection": True,
        "range_partitioning.field": "at",
        "range_partitioning.range.start": 1_767_225_600_000,  # 2026-01-01
        "range_partitioning.range.end": 1_767_225_600_000 + 10_000 * 86_400_000,  # 10,000 partitions are the most there are
        "range_partitioning.range.interval": 86_400_000,
    },
    "google_pubsub_subscription.bigquery": {
        "name": "bigquery",
        "message_retention_duration": "2678400s",
        "push_config": [],
        "bigquery_config.use_table_schema": True,
        "bigquery_config.drop_unknown_fields": True,
        "bigquery_config.write_metadata": None,  # the same event told twice would be two different rows
        "expiration_policy.ttl": "",
        "retry_policy.minimum_backoff": "10s",
        "retry_policy.maximum_backoff": "600s",
        "dead_letter_policy.max_delivery_attempts": 100,
    },
}


def bigquery(seen: Seen) -> Iterator[str]:
    """With `bigquery` each event becomes a row of its own fields, and what cannot waits as a dead letter; without, nothing is made."""
    if not seen.variables["bigquery"]:
        for one in seen.plan.instances:
            if one.type.startswith("google_bigquery_"):
                yield f"{one.address} is made though nobody asked for it."
        return
    yield from seen.fixed(_EVENTS)
    for one in seen.plan.of("google_bigquery_dataset"):
        yield from differing(one.address, one.values, {"location": seen.bucket_location})
    for one in seen.plan.of("google_bigquery_table"):
        given = one.values["schema"] if isinstance(one.values["schema"], str) else "[]"
        columns = [(column["name"], column["type"], column["mode"]) for column in json.loads(given)]
        if columns != list(seen.facts.columns):
            yield f"{one.address} has the columns {columns}, not those of an event: {list(seen.facts.columns)}."
    topics = f"projects/{seen.project}/topics"
    wanted = {
        "topic": f"{topics}/engagement-events",
        "bigquery_config.table": f"{seen.project}.engagement.events",
        "dead_letter_policy.dead_letter_topic": f"{topics}/bigquery-dead",
    }
    yield from differing("the subscription of BigQuery", seen.one("google_pubsub_subscription", name="bigquery"), wanted)
    yield from dead(seen, "bigquery-dead")


def times(seen: Seen) -> Iterator[str]:
    """A worker stops before its message is given to another, and holds its lease longer than that; a stream ends by itself."""
    for name, (step, _) in seen.subscriptions.items():
        deadline = number(at(seen.one("google_pubsub_subscription", name=name), "ack_deadline_seconds"))
        function = seen.functions.get((step, seen.region))
        if not deadline or function is None:
            yield f"{name}: its ack deadline or its function is missing."
            continue
        if deadline < seen.facts.ack_deadline:
            yield f"{name}: its ack deadline is {deadline} s, and even the twin's is {seen.facts.ack_deadline} s."
        if number(at(function.values, "service_config.timeout_seconds")) < deadline:
            yield f"{step}: its function ends before the ack deadline of {deadline} s."
        if LONGEST.get(step, 0) > 0.8 * deadline:
            yield f"{step}: a push may work for {LONGEST[step]} s, more than 80% of the ack deadline of {deadline} s."
        given = {field.name: field.default for field in dataclasses.fields(seen.facts.configs[step])}
        given |= {name.lower(): value for name, value in _given(function).items()}
        if "budget_ms" in given:  # the last window begins before it, and takes WINDOW at most
            budget, lease = int(str(given["budget_ms"])), int(str(given["lease_ms"]))
            if budget + 1000 * WINDOW > 1000 * deadline:
                yield f"{step}: a window that begins after BUDGET_MS may outlast the ack deadline of {deadline} s."
            if lease <= budget:
                yield f"{step}: LEASE_MS is not over BUDGET_MS: a worker would lose its batch while it works."
    live = {field.name: field.default for field in dataclasses.fields(seen.facts.configs["live"])}
    for (step, region), function in seen.functions.items():
        if step != "live":
            continue
        if number(at(function.values, "service_config.timeout_seconds")) <= number(live["live_seconds"]):
            yield f"{step} in {region}: its function ends before LIVE_SECONDS: streams would break off."
        if number(at(function.values, "service_config.max_instance_request_concurrency")) <= number(live["live_viewers"]):
            yield f"{step} in {region}: LIVE_VIEWERS leave no room for pages."
    for step in seen.facts.ticked:
        job = seen.one("google_cloud_scheduler_job", name=f"tick-{service(step)}")
        function = seen.functions.get((step, seen.region))
        timeout = number(at(function.values, "service_config.timeout_seconds")) if function else 0
        allowed = re.fullmatch(r"(\d+)s", str(job.get("attempt_deadline")))
        if not timeout or allowed is None or not timeout < int(allowed[1]) <= 1800:
            yield f"{step}: a tick may take {job.get('attempt_deadline')}, and its function {timeout} s."
        if step in LONGEST and timeout <= LONGEST[step]:
            yield f"{step}: its function ends after {timeout} s, and a tick may work for {LONGEST[step]} s."


def readme(seen: Seen) -> Iterator[str]:
    """Its function table says how each step is deployed."""
    jobs = {one.key for one in seen.plan.of("google_cloud_scheduler_job")}
    consumed: dict[str, str] = {}
    for one in seen.plan.of("google_pubsub_subscription"):
        step, _ = seen.subscriptions.get(one.values["name"], ("", ""))
        consumed[step] = str(one.values["topic"]).rpartition("/")[2]
    published: dict[str, set[str]] = {step: set() for step in seen.facts.rows}
    for one in seen.plan.of("google_pubsub_topic_iam_member"):
        who = next((step for step in published if one.values["member"] == f"serviceAccount:{seen.account(step)}"), None)
        if who:
            published[who].add(one.values["topic"])
    for step, row in seen.facts.rows.items():
        trigger = "tick" if step in jobs else "Pub/Sub" if step in consumed else "HTTP"
        found = (trigger, {consumed[step]} if step in consumed else set(), published[step])
        if found != row:
            yield f"README says of {step}: {row}; deployed is {found}."


GROUPS: Mapping[str, Check] = {
    "functions": functions,
    "settings": settings,
    "triggers": triggers,
    "times": times,
    "readme": readme,
    **checks_iam.GROUPS,
    **checks_data.GROUPS,
    "bigquery": bigquery,
    **checks_watch.GROUPS,
    **checks_front.GROUPS,
}


def faults(plan: Plan, facts: Facts) -> list[str]:
    """All that is wrong; [] when nothing is."""
    seen = Seen(plan, facts)
    return [sentence for check in GROUPS.values() for sentence in check(seen)]
