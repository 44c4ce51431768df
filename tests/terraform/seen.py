"""A plan beside the facts it is checked against, with the questions that several checks ask."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from local.dead_letters import dead
from local.steps import subscriptions
from tests.terraform.facts import Facts
from tests.terraform.provider import PROJECT_NUMBER
from tests.terraform.workspace import Instance, Plan

Table = Mapping[str, Mapping[str, Any]]  # address without a key -> argument (dotted path) -> what it has to be
GIVEN = object()  # in a Table: anything but nothing


def at(values: Any, path: str) -> Any:
    """An argument by its dotted path, through the first of each kind of block; None when it is not there."""
    for name in path.split("."):
        if isinstance(values, list):
            values = values[0] if values else None
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


_WAY_OUT: Mapping[str, Any] = {  # what a provider is where nothing is said
    "options": {},
    "weight": 1,
    "rate": 0,
    "daily": 0,
    "domains": [],
    "engaged": "any",
    "warm_up": None,
}
_ENDPOINT: Mapping[str, Any] = {"types": [], "campaigns": []}
_INBOX: Mapping[str, Any] = {"port": 993, "folder": "INBOX", "security": "tls"}


@dataclass(frozen=True)
class Seen:
    plan: Plan
    code: Facts

    @cached_property
    def facts(self) -> Facts:
        """Of the steps that the operator wants."""
        wanted = {"inbox": self.variables["inbox"], "notify": self.variables["events_out"]}
        return self.code.without([step for step, given in wanted.items() if not given])

    @cached_property
    def variables(self) -> Mapping[str, Any]:
        """As the operator gave them, or their defaults."""
        words = {"true": True, "false": False}  # terraform shows what a command line gave as it was given
        given = {name: one["value"] for name, one in self.plan.json["variables"].items()}
        found: dict[str, Any] = {}
        for name, value in given.items():
            found[name] = words.get(value, int(value) if value.isdecimal() else value) if isinstance(value, str) else value
        found["mail_providers"] = [{**_WAY_OUT, **one} for one in found["mail_providers"]]
        found["events_out"] = [{**_ENDPOINT, **one} for one in found["events_out"]]
        found["inbox"] = found["inbox"] and {**_INBOX, **found["inbox"]}
        return found

    @property
    def project(self) -> str:
        return str(self.variables["project"])

    @property
    def region(self) -> str:
        """The one that holds everything."""
        return str(self.variables["regions"][0])

    @property
    def domain(self) -> str | None:
        found: str | None = self.variables["domain"]
        return found

    @cached_property
    def functions(self) -> Mapping[tuple[str, str], Instance]:
        """(step, region) -> its function, by the entry point."""
        found = self.plan.of("google_cloudfunctions2_function")
        return {(str(at(one.values, "build_config.entry_point")), str(one.values["location"])): one for one in found}

    def account(self, step: str) -> str:
        """Who a step is."""
        return f"step-{service(step)}@{self.project}.iam.gserviceaccount.com"

    def secrets(self, step: str) -> set[str]:
        """What a step reads: of the operator's own secrets those that the variables call for."""
        own = {"provider-*": {f"provider-{one['name']}" for one in self.variables["mail_providers"]}}
        own["events-*"] = {f"events-out-{one['name']}" for one in self.variables["events_out"]}
        own["webhook-*"] = {f"webhook-{name}" for name in ("generic", *self.variables["webhook_providers"])}
        own["dkim-key"] = {"dkim-key"} if self.variables["dkim"] else set()
        own["captcha-secret"] = {"captcha-secret"} if self.variables["captcha"] else set()
        return {name for secret in self.facts.calls[step].secrets for name in own.get(secret, {secret})}

    def caller(self, step: str) -> str:
        """Who alone calls a private step."""
        return f"call-{service(step)}@{self.project}.iam.gserviceaccount.com"

    def endpoint(self, step: str) -> str:
        """https://cloud.google.com/run/docs/triggering/https-request#deterministic"""
        return f"https://{service(step)}-{PROJECT_NUMBER}.{self.region}.run.app"

    @property
    def subscriptions(self) -> dict[str, tuple[str, str]]:
        """Each that pushes -> its step and topic."""
        return subscriptions(json.dumps(self.variables["events_out"]))

    @property
    def dead(self) -> set[str]:
        """The names of all dead letters."""
        return {dead(name) for name in self.subscriptions} | ({"bigquery-dead"} if self.variables["bigquery"] else set())

    @property
    def database(self) -> str:
        return str(self.variables["firestore_database"])

    @property
    def public_url(self) -> str:
        return f"https://{self.domain}" if self.domain else f"https://{self.region}-{self.project}.cloudfunctions.net"

    @property
    def bucket_location(self) -> str:
        """Firestore's multi-regions as Cloud Storage calls them."""
        location = str(self.variables["firestore_location"])
        return {"eur3": "EU", "nam5": "US", "nam7": "US"}.get(location, location.upper())

    def at_address(self, address: str) -> list[Instance]:
        """All instances of "type.name"."""
        return [one for one in self.plan.instances if f"{one.type}.{one.name}" == address and one.mode == "managed"]

    def one(self, kind: str, **values: Any) -> Mapping[str, Any]:
        """The values of the only instance that has these, or {}."""
        found = [one.values for one in self.plan.of(kind) if all(one.values.get(name) == value for name, value in values.items())]
        return found[0] if len(found) == 1 else {}

    def fixed(self, table: Table) -> Iterator[str]:
        """What differs from a table; an address without an instance is missing."""
        for address, wanted in table.items():
            found = self.at_address(address)
            if not found:
                yield f"{address} is missing."
            for one in found:
                yield from differing(one.address, one.values, wanted)


def differing(who: str, values: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each argument that is not as wanted."""
    for path, expected in wanted.items():
        found = at(values, path)
        if expected is GIVEN:
            if found in (None, "", []) or repr(found) == "UNKNOWN":
                yield f"{who}: {path} is not given."
        elif found != expected or isinstance(found, bool) != isinstance(expected, bool):
            yield f"{who}: {path} is {found!r}, not {expected!r}."


def number(value: Any) -> float:
    """0 for what is not given or not known."""
    return float(value) if isinstance(value, int | float | str) and re.fullmatch(r"[\d.]+", str(value)) else 0


def service(step: str) -> str:
    """The name of a step's function and of its Cloud Run service, which takes no underscore."""
    return step.replace("_", "-")


def compare(what: str, found: set[Any] | frozenset[Any], wanted: set[Any] | frozenset[Any]) -> Iterator[str]:
    """Two sets that have to be equal."""
    for one in sorted(map(str, wanted - found)):
        yield f"{what}: {one} is missing."
    for one in sorted(map(str, found - wanted)):
        yield f"{what}: {one} is too much."
