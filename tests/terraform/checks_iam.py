"""Who may do what: the grants of a plan are exactly those that follow from the calls of the steps, and a few with a reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from local.dead_letters import dead
from tests.terraform.seen import Seen, at, service

ANYBODY = "allUsers"
_PUBSUB = "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"
_WHERE = {  # argument of an IAM resource -> what it is about
    "topic": "topic",
    "subscription": "subscription",
    "secret_id": "secret",
    "service_account_id": "account",
    "bucket": "bucket",
    "billing_account_id": "billing account",
    "repository": "repository",
    "table_id": "table",
    "name": "service",
    "project": "project",
}
# What `terraform apply` and `python -m ops release` do as Cloud Build, on the project.
DEPLOYER = {
    "roles/artifactregistry.admin": "the repository that functions are built into",
    "roles/cloudbuild.builds.editor": "the trigger itself",
    "roles/cloudfunctions.admin": "the functions, and who may call them",
    "roles/cloudscheduler.admin": "the ticks",
    "roles/datastore.owner": "the database, its indexes and backups; the smoke check reads documents",
    "roles/iam.roleAdmin": "the roles of our own",
    "roles/iam.serviceAccountAdmin": "an account a step",
    "roles/iam.serviceAccountUser": "to deploy a function that runs as one of them",
    "roles/logging.configWriter": "metrics and exclusions",
    "roles/logging.logWriter": "the build's own log",
    "roles/monitoring.editor": "alerts, dashboard, uptime check",
    "roles/pubsub.admin": "topics, subscriptions and their rights",
    "roles/resourcemanager.projectIamAdmin": "rights on the project",
    "roles/run.admin": "who may call a service, and the shift of traffic",
    "roles/secretmanager.admin": "secrets and their rights",
    "roles/serviceusage.serviceUsageAdmin": "the APIs",
    "roles/storage.admin": "buckets, and Terraform's own state",
}
ANALYSING_DEPLOYER = {"roles/bigquery.dataOwner": "the events' table and its rights"}
BALANCING_DEPLOYER = {"roles/compute.loadBalancerAdmin": "the load balancer"}
_PRIMITIVE = ("roles/owner", "roles/editor", "roles/viewer")


class Grant(NamedTuple):
    """`what`: a role, or the permissions of a role of our own; `only`: the condition."""

    who: str
    what: str
    where: str
    only: str = ""

    def __str__(self) -> str:
        return f"{self.who} may {self.what} on {self.where}{f' if {self.only}' if self.only else ''}"


def grants(seen: Seen) -> Iterator[str]:
    """Nobody has more than they use, and nobody less."""
    found = {_grant(seen, one.values) for one in seen.plan.instances if one.type.endswith("_iam_member")}
    wanted = dict(_wanted(seen))
    for grant in sorted(wanted.keys() - found):
        yield f"{grant}: this is not granted, but needed: {wanted[grant]}."
    for grant in sorted(found - wanted.keys()):
        yield f"{grant}: nobody needs this."
    for one in seen.plan.instances:
        if one.type.endswith(("_iam_binding", "_iam_policy")):
            yield f"{one.address} would take away what others were granted."
        if one.values.get("role") in _PRIMITIVE:
            yield f"{one.address} grants {one.values['role']}, which is nearly everything."


def accounts(seen: Seen) -> Iterator[str]:
    """Each of the accounts that the grants name is made here, and no other."""
    found = {one.values["email"] for one in seen.plan.of("google_service_account")}
    wanted = {seen.account(step) for step in seen.facts.triggers}
    wanted |= {seen.caller(step) for step in (*seen.facts.ticked, *seen.facts.pushed)}
    wanted |= {f"{name}@{seen.project}.iam.gserviceaccount.com" for name in ("build-functions", *_deployers(seen))}
    for email in sorted(wanted - found):
        yield f"The account {email} is missing."
    for email in sorted(found - wanted):
        yield f"The account {email} is nobody's."


def roles(seen: Seen) -> Iterator[str]:
    """A role of our own is granted to somebody, and named for them."""
    granted = {one.values.get("role") for one in seen.plan.instances if one.type.endswith("_iam_member")}
    for one in seen.plan.of("google_project_iam_custom_role"):
        if one.values["id"] not in granted:
            yield f"{one.address} is granted to nobody."


def _deployers(seen: Seen) -> list[str]:
    return ["deployer"] if seen.variables["repository"] else []


def _grant(seen: Seen, values: Mapping[str, Any]) -> Grant:
    role = str(values.get("role"))
    own = seen.one("google_project_iam_custom_role", id=role)
    what = ", ".join(sorted(map(str, own.get("permissions") or []))) if own else role
    kind = next((name for name in _WHERE if values.get(name) is not None), "")
    where = "the project" if kind == "project" else f"{_WHERE.get(kind, '')} {values.get(kind)}"
    if kind in ("name", "repository"):
        where += f" in {values.get('location')}"
    if kind == "table_id":
        where += f" of {values.get('dataset_id')}"
    return Grant(str(values.get("member")), what, where, str(at(values, "condition.expression") or ""))


def _lists_of_addresses(bucket: str) -> str:
    """The condition of who may delete."""
    folders = (f'resource.name.startsWith("projects/_/buckets/{bucket}/objects/{name}/")' for name in ("callbacks", "exports"))
    return " || ".join(('resource.type == "storage.googleapis.com/Bucket"', *folders))


def _wanted(seen: Seen) -> Iterator[tuple[Grant, str]]:
    """Each grant and why."""
    ours = f'resource.name == "projects/{seen.project}/databases/{seen.database}"'
    for step in seen.facts.triggers:
        calls, who = seen.facts.calls[step], f"serviceAccount:{seen.account(step)}"
        if calls.store:
            yield Grant(who, _permissions("datastore.entities", calls.store), "the project", ours), f"documents of {step}"
        if calls.objects:
            only = _lists_of_addresses(f"{seen.project}-objects") if "delete" in calls.objects else ""
            what = _permissions("storage.objects", calls.objects)
            yield Grant(who, what, f"bucket {seen.project}-objects", only), f"files of {step}"
        for secret in seen.secrets(step):
            what = _permissions("secretmanager.versions", {"access", "list"})
            yield Grant(who, what, f"secret {secret}"), f"{step} reads it"
        for topic in calls.publishes:
            yield Grant(who, "roles/pubsub.publisher", f"topic {topic}"), f"{step} publishes there"
    for step, region in seen.functions:
        where = f"service {service(step)} in {region}"
        if step in seen.facts.public:
            yield Grant(ANYBODY, "roles/run.invoker", where), "readers have no account"
        else:
            yield Grant(f"serviceAccount:{seen.caller(step)}", "roles/run.invoker", where), "its only caller"
    for step in seen.facts.pushed:
        where = f"account projects/{seen.project}/serviceAccounts/{seen.caller(step)}"
        yield Grant(_PUBSUB, "roles/iam.serviceAccountOpenIdTokenCreator", where), "Pub/Sub signs its pushes as it"
    for name in seen.subscriptions:
        yield Grant(_PUBSUB, "roles/pubsub.publisher", f"topic {dead(name)}"), "Pub/Sub moves what is given up there"
        yield Grant(_PUBSUB, "roles/pubsub.subscriber", f"subscription {name}"), "Pub/Sub takes what is given up from there"
    yield from _builder(seen)
    if seen.variables["bigquery"]:
        yield Grant(_PUBSUB, "roles/bigquery.dataEditor", "table events of engagement"), "Pub/Sub writes each event there"
        yield (
            Grant(_PUBSUB, "roles/pubsub.publisher", "topic bigquery-dead"),
            "Pub/Sub moves what has no place in the table there",
        )
        yield Grant(_PUBSUB, "roles/pubsub.subscriber", "subscription bigquery"), "Pub/Sub takes what is given up from there"
    reason = "pictures in mails; who knows a name may fetch it, nobody may list"
    yield Grant(ANYBODY, "roles/storage.legacyObjectReader", f"bucket {seen.project}-assets"), reason
    launch = f"serviceAccount:{seen.account('launch')}"
    yield Grant(launch, "roles/storage.objectCreator", f"bucket {seen.project}-assets"), "it puts them there"
    for name in _deployers(seen):
        who = f"serviceAccount:{name}@{seen.project}.iam.gserviceaccount.com"
        analysing = ANALYSING_DEPLOYER if seen.variables["bigquery"] else {}
        for role, reason in {**DEPLOYER, **analysing, **(BALANCING_DEPLOYER if seen.domain else {})}.items():
            yield Grant(who, role, "the project"), reason
        if seen.variables["budget"]:
            where = f"billing account {seen.variables['budget']['billing_account']}"
            yield Grant(who, "roles/billing.costsManager", where), "the budget is outside the project"


def _builder(seen: Seen) -> Iterator[tuple[Grant, str]]:
    who = f"serviceAccount:build-functions@{seen.project}.iam.gserviceaccount.com"
    for region in sorted({region for _, region in seen.functions}):
        where = f"repository functions in {region}"
        yield Grant(who, "roles/artifactregistry.writer", where), "it stores the image that it builds"
    yield Grant(who, "roles/logging.logWriter", "the project"), "it writes the build's log"
    copies = 'resource.name.startsWith("projects/_/buckets/gcf-v2-")'
    yield Grant(who, "roles/storage.objectViewer", "the project", copies), "it reads Cloud Functions' copy of our archives"


def _permissions(of: str, verbs: set[str] | frozenset[str]) -> str:
    return ", ".join(f"{of}.{verb}" for verb in sorted(verbs))


GROUPS = {"grants": grants, "accounts": accounts, "roles": roles}
