"""What is kept, and how safely: documents with their indexes, topics, secrets, files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.terraform.seen import GIVEN, Seen, Table, at, compare, differing

_DATABASE: Table = {
    "google_firestore_database.this": {
        "type": "FIRESTORE_NATIVE",
        "concurrency_mode": "PESSIMISTIC",  # server-side libraries' default; optimistic would fail what now waits
        "point_in_time_recovery_enablement": "POINT_IN_TIME_RECOVERY_ENABLED",
        "delete_protection_state": "DELETE_PROTECTION_ENABLED",
        "deletion_policy": "ABANDON",
    },
    "google_firestore_backup_schedule.daily": {
        "retention": "1209600s",
        "daily_recurrence": [{}],
        "weekly_recurrence": [],
    },
}
_BUCKETS: Table = {
    "google_storage_bucket.objects": {
        "uniform_bucket_level_access": True,
        "public_access_prevention": "enforced",
        "versioning.enabled": True,
        "soft_delete_policy.retention_duration_seconds": 604800,
        "lifecycle_rule.action.type": "Delete",
        "lifecycle_rule.condition.days_since_noncurrent_time": 30,
        "lifecycle_rule.condition.age": None,  # would delete a mail that is still being sent
    },
    "google_storage_bucket.assets": {"uniform_bucket_level_access": True, "public_access_prevention": "inherited"},
    "google_storage_bucket.sources": {
        "uniform_bucket_level_access": True,
        "public_access_prevention": "enforced",
        "force_destroy": True,  # holds nothing but copies
    },
}
_GOING = {(("rosters/",), 90, "LIVE", "Delete"), (("callbacks/",), 30, "LIVE", "Delete")}
_MADE_UP = frozenset({"pepper", "signing-key", "webhook-generic"})  # what nobody has to give us


def database(seen: Seen) -> Iterator[str]:
    """The one database is protected and backed up."""
    yield from seen.fixed(_DATABASE)
    wanted = {"name": seen.database, "location_id": seen.variables["firestore_location"]}
    yield from differing("the database", seen.one("google_firestore_database"), wanted)
    yield from differing("the backup", seen.one("google_firestore_backup_schedule"), {"database": seen.database})


def indexes(seen: Seen) -> Iterator[str]:
    """Every query has its index, every index its query, and nothing else is indexed; a document with an Expiry goes."""
    queries = frozenset[tuple[str, str, str]]().union(*(calls.queries for calls in seen.facts.calls.values()))
    found, unindexed, expiring = set(), set(), {}
    for one in seen.plan.of("google_firestore_field"):
        collection, field = str(one.values["collection"]), str(one.values["field"])
        yield from differing(one.address, one.values, {"database": seen.database})
        if not one.values["index_config"]:
            yield f"{one.address} has no index_config, so that its default indexes stay."
        for index in at(one.values, "index_config.indexes") or []:
            found.add((collection, field, index["order"] or index["array_config"]))
            yield from differing(one.address, index, {"query_scope": "COLLECTION"})
        if field == "*":
            unindexed.add(collection)
        if one.values["ttl_config"]:
            expiring[collection] = field
    yield from compare("collections without indexes of their own", unindexed, seen.facts.collections)
    yield from compare("indexes", found, queries)
    yield from compare("fields after whose time a document goes", set(expiring.items()), set(seen.facts.expiring.items()))


def topics(seen: Seen) -> Iterator[str]:
    """Those of the code, and one for the dead letters of each consumer; each consumed and each published."""
    found = {str(one.values["name"]) for one in seen.plan.of("google_pubsub_topic")}
    yield from compare("topics", found, seen.facts.topics | seen.dead)
    published = frozenset[str]().union(*(calls.publishes for calls in seen.facts.calls.values()))
    yield from compare("topics that are published", published, seen.facts.topics)
    yield from compare("topics that are consumed", set(seen.facts.pushed.values()), seen.facts.topics)
    yield from seen.fixed({"google_project_service_identity.pubsub": {"service": "pubsub.googleapis.com"}})


def secrets(seen: Seen) -> Iterator[str]:
    """Those that are read exist, protected; what can be made up is, and no plan or state holds it."""
    read = frozenset[str]().union(*(seen.secrets(step) for step in seen.facts.calls))
    yield from compare("secrets", {str(one.values["secret_id"]) for one in seen.plan.of("google_secret_manager_secret")}, read)
    wanted = {"deletion_protection": True, "replication.auto": GIVEN, "version_destroy_ttl": "2592000s"}
    for one in seen.plan.of("google_secret_manager_secret"):
        yield from differing(one.address, one.values, wanted)
    versions = seen.plan.of("google_secret_manager_secret_version")
    made = {str(one.values["secret"]).rpartition("/")[2] for one in versions}
    yield from compare("secrets with a first version", made, _MADE_UP)
    for one in versions:
        wanted = {"secret_data": None, "secret_data_wo": None, "secret_data_wo_version": 1, "enabled": None}
        yield from differing(one.address, one.values, wanted)
        if not any("ephemeral.random_password" in name for name in one.references.get("secret_data_wo", [])):
            yield f"{one.address}: its data is not an ephemeral random password."


def buckets(seen: Seen) -> Iterator[str]:
    """None is open but the pictures', each where the operator keeps data."""
    yield from seen.fixed(_BUCKETS)
    names = {f"{seen.project}-{name}" for name in ("assets", "objects", "sources")}
    yield from compare("buckets", {str(one.values["name"]) for one in seen.plan.of("google_storage_bucket")}, names)
    for one in seen.plan.of("google_storage_bucket"):
        location = seen.region.upper() if one.name == "sources" else seen.bucket_location
        yield from differing(one.address, one.values, {"location": location})
    for one in seen.at_address("google_storage_bucket.objects"):
        yield from compare("files that go by themselves", {_rule(rule) for rule in one.values["lifecycle_rule"][1:]}, _GOING)


def _rule(rule: Any) -> tuple[object, ...]:
    of, what = [at(rule, f"condition.{name}") for name in ("matches_prefix", "age", "with_state")], at(rule, "action.type")
    return (*(tuple(one) if isinstance(one, list) else one for one in of), what)


def images(seen: Seen) -> Iterator[str]:
    """Each region keeps what is built there: the newest, so that a function can go back, and not for ever."""
    found = seen.plan.of("google_artifact_registry_repository")
    regions = {region for _, region in seen.functions}
    yield from compare("repositories of images", {str(one.values["location"]) for one in found}, regions)
    for one in found:
        yield from differing(
            one.address, one.values, {"repository_id": "functions", "format": "DOCKER", "cleanup_policy_dry_run": None}
        )
        policies = {str(policy["action"]): policy for policy in one.values["cleanup_policies"]}
        kept = at(policies.get("KEEP"), "most_recent_versions.keep_count") or 0
        if kept < 2:
            yield f"{one.address} keeps {kept} images of a function: there is nothing to go back to."
        if at(policies.get("DELETE"), "condition.older_than") is None:
            yield f"{one.address} keeps every image for ever."


GROUPS = {"database": database, "indexes": indexes, "topics": topics, "secrets": secrets, "buckets": buckets, "images": images}
