"""A double of the Google provider that real terraform talks to, so that tests can plan and apply terraform/ without a cloud account.

It checks arguments by the provider's own schema (schema.json, extra.json), computes what Google would (e-mails, ids, addresses), and
at apply keeps what exists, in order. Rules over that order refuse what an empty project would refuse.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgpack

from tests.terraform.protocol import MESSAGES, Handler

HERE = Path(__file__).parent
PROJECT_NUMBER = "123456789012"
_UNKNOWN = msgpack.ExtType(0, b"\0")
_NESTING = {"single": 1, "list": 2, "set": 3}
_COMPUTE = "https://www.googleapis.com/compute/v1/"

Values = dict[str, Any]


@dataclass(frozen=True)
class Resource:
    """What an apply made: the type and its values, computed ones included. `action` is create, update or delete."""

    action: str
    type: str
    values: Mapping[str, Any]


Rule = Callable[[Sequence[Resource], Resource], str | None]


@dataclass
class Cloud:
    """One workspace's Google. `known`: plan what the double can predict, where the real provider often says "known after apply"."""

    known: bool = True
    rules: Sequence[Rule] = ()
    resources: list[Resource] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


# --- Computed values

_NAMED = {  # type -> the id, which the provider's documentation gives under "Attributes Reference"
    "google_artifact_registry_repository": "projects/{project}/locations/{location}/repositories/{repository_id}",
    "google_bigquery_dataset": "projects/{project}/datasets/{dataset_id}",
    "google_bigquery_table": "projects/{project}/datasets/{dataset_id}/tables/{table_id}",
    "google_cloud_scheduler_job": "projects/{project}/locations/{region}/jobs/{name}",
    "google_cloudbuild_trigger": "projects/{project}/locations/{location}/triggers/{name}",
    "google_cloudfunctions2_function": "projects/{project}/locations/{location}/functions/{name}",
    "google_compute_backend_bucket": "projects/{project}/global/backendBuckets/{name}",
    "google_compute_backend_service": "projects/{project}/global/backendServices/{name}",
    "google_compute_global_address": "projects/{project}/global/addresses/{name}",
    "google_compute_global_forwarding_rule": "projects/{project}/global/forwardingRules/{name}",
    "google_compute_managed_ssl_certificate": "projects/{project}/global/sslCertificates/{name}",
    "google_compute_region_network_endpoint_group": "projects/{project}/regions/{region}/networkEndpointGroups/{name}",
    "google_compute_ssl_policy": "projects/{project}/global/sslPolicies/{name}",
    "google_compute_target_http_proxy": "projects/{project}/global/targetHttpProxies/{name}",
    "google_compute_target_https_proxy": "projects/{project}/global/targetHttpsProxies/{name}",
    "google_compute_url_map": "projects/{project}/global/urlMaps/{name}",
    "google_firestore_database": "projects/{project}/databases/{name}",
    "google_firestore_field": "projects/{project}/databases/{database}/collectionGroups/{collection}/fields/{field}",
    "google_logging_metric": "{name}",
    "google_logging_project_exclusion": "projects/{project}/exclusions/{name}",
    "google_monitoring_alert_policy": "projects/{project}/alertPolicies/{display_name}",
    "google_monitoring_notification_channel": "projects/{project}/notificationChannels/{display_name}",
    "google_monitoring_uptime_check_config": "projects/{project}/uptimeCheckConfigs/{display_name}",
    "google_project": "projects/{project_id}",
    "google_project_iam_custom_role": "projects/{project}/roles/{role_id}",
    "google_project_iam_member": "{project}/{role}/{member}",
    "google_project_service": "{project}/{service}",
    "google_pubsub_subscription": "projects/{project}/subscriptions/{name}",
    "google_pubsub_topic": "projects/{project}/topics/{name}",
    "google_secret_manager_secret": "projects/{project}/secrets/{secret_id}",
    "google_secret_manager_secret_version": "{secret}/versions/1",
    "google_service_account": "projects/{project}/serviceAccounts/{email}",
    "google_storage_bucket": "{name}",
    "google_storage_bucket_object": "{bucket}-{name}",
}
_ID_AS_NAME = (  # types whose computed `name` is the id
    "google_firestore_field",
    "google_monitoring_",
    "google_project_iam_custom_role",
    "google_secret_manager_",
    "google_service_account",
)
_COMPUTED = {
    "google_artifact_registry_repository": {"name": "{repository_id}"},
    "google_cloudfunctions2_function": {
        "environment": "GEN_2",
        "service_config.service": "projects/{project}/locations/{location}/services/{name}",
        "service_config.uri": "https://{name}-x.a.run.app",
        "state": "ACTIVE",
        "url": "https://{location}-{project}.cloudfunctions.net/{name}",
    },
    "google_compute_global_address": {"address": "203.0.113.10"},
    "google_monitoring_uptime_check_config": {"uptime_check_id": "{display_name}"},
    "google_project": {"number": PROJECT_NUMBER, "project_id": "{project}", "name": "{project_id}"},
    "google_project_service_identity": {
        "email": f"service-{PROJECT_NUMBER}@gcp-sa-{{service:.}}.iam.gserviceaccount.com",
        "member": "serviceAccount:{email}",
    },
    "google_secret_manager_secret_version": {"version": "1"},
    "google_service_account": {
        "email": "{account_id}@{project}.iam.gserviceaccount.com",
        "member": "serviceAccount:{email}",
    },
    "google_storage_bucket": {"self_link": "https://www.googleapis.com/storage/v1/b/{name}", "url": "gs://{name}"},
    "google_storage_bucket_object": {"output_name": "{name}"},
    "random_password": {"result": "a-password-for-tests"},
}


class _NotYetKnown(Exception):
    pass


class _Prediction:
    """Computes the attributes of one object from its other values and the provider's configuration."""

    def __init__(self, kind: str, root: Values, provider: Values, *, applying: bool) -> None:
        self._type, self._root, self._provider = kind, root, provider
        self._applying = applying  # then every argument is known, and what is unknown is computed

    def value(self, path: str) -> Any:
        """Of the attribute at `path`, or _UNKNOWN."""
        try:
            if path in ("effective_labels", "terraform_labels"):
                labels = [self._known(given) or {} for given in (self._provider.get("default_labels"), self._root.get("labels"))]
                return {**labels[0], **labels[1]}
            return self._filled(path)
        except _NotYetKnown:
            return _UNKNOWN

    def _template(self, path: str) -> str | None:
        if found := _COMPUTED.get(self._type, {}).get(path):
            return found
        named = _NAMED.get(self._type)
        if path == "id" or (path == "name" and self._type.startswith(_ID_AS_NAME)):
            return named
        return f"{_COMPUTE}{named}" if named and path == "self_link" and self._type.startswith("google_compute_") else None

    def _filled(self, path: str) -> Any:
        template = self._template(path)
        if template is None:
            if path in ("project", "region", "zone") and self._provider.get(path) is not None:
                return self._known(self._provider[path])
            raise _NotYetKnown
        return re.sub(r"\{(\w+)(:\.)?\}", lambda found: self._of(found[1]).partition("." if found[2] else "\0")[0], template)

    def _of(self, name: str) -> str:
        given = self._root.get(name)
        computed = given is None or (self._applying and isinstance(given, msgpack.ExtType))
        return str(self._filled(name) if computed else self._known(given))

    @staticmethod
    def _known(value: Any) -> Any:
        if isinstance(value, msgpack.ExtType):
            raise _NotYetKnown
        return value


def _made_up(kind: Any, label: str) -> Any:
    """For what has been applied but nobody predicted: any value of the type."""
    if isinstance(kind, list):
        return (
            {name: _made_up(inner, label) for name, inner in kind[1].items()}
            if kind[0] == "object"
            else {}
            if kind[0] == "map"
            else []
        )
    return {"string": label, "number": 1, "bool": False}[kind]


# --- Rules of an empty project

_SERVICES = {
    "google_artifact_registry_": ("artifactregistry",),
    "google_bigquery_": ("bigquery",),
    "google_billing_budget": ("billingbudgets",),
    "google_cloud_run_": ("run",),
    "google_cloud_scheduler_": ("cloudscheduler",),
    "google_cloudbuild_": ("cloudbuild",),
    "google_cloudfunctions2_": ("artifactregistry", "cloudbuild", "cloudfunctions", "run"),
    "google_compute_": ("compute",),
    "google_firestore_": ("firestore",),
    "google_logging_": ("logging",),
    "google_monitoring_": ("monitoring",),
    "google_project_iam_custom_role": ("iam",),
    "google_pubsub_": ("pubsub",),
    "google_secret_manager_": ("secretmanager",),
    "google_service_account": ("iam",),
    "google_storage_": ("storage",),
}


def api_enabled(made: Sequence[Resource], resource: Resource) -> str | None:
    """Google refuses a call to an API that the project has not enabled."""
    enabled = {one.values["service"] for one in made if one.type == "google_project_service"}
    for prefix, services in _SERVICES.items():
        off = sorted(service for service in services if f"{service}.googleapis.com" not in enabled)
        if resource.type.startswith(prefix) and off:
            return f"{resource.type}: {off[0]}.googleapis.com has not been used in this project before or it is disabled"
    return None


def account_exists(made: Sequence[Resource], resource: Resource) -> str | None:
    """Google refuses to name a service account of the project that does not exist, as a member or as an identity."""
    if resource.type == "google_service_account":
        return None
    accounts = {one.values["email"] for one in made if one.type == "google_service_account"}
    projects = {one.values.get("project") for one in (*made, resource)}
    for email, project in re.findall(r"([\w.-]+@([\w-]+)\.iam\.gserviceaccount\.com)", json.dumps(resource.values)):
        if project in projects and email not in accounts:
            return f"{resource.type}: service account {email} does not exist"
    return None


EMPTY_PROJECT: Sequence[Rule] = (api_enabled, account_exists)


# --- The provider


def schemas(file: Path = HERE / "schema.json", extra: Path = HERE / "extra.json") -> dict[str, Any]:
    """The schemas by provider, with the hand-written additions."""
    merged: dict[str, Any] = _merged(json.loads(file.read_text()), json.loads(extra.read_text()))
    return merged


def _merged(one: Any, other: Any) -> Any:
    if not isinstance(one, dict) or not isinstance(other, dict):
        return other
    return {**one, **{key: _merged(one.get(key), value) for key, value in other.items()}}


class Provider:
    """One provider of one workspace, by its schema."""

    def __init__(self, schema: Mapping[str, Any], cloud: Cloud) -> None:
        self._schema, self._cloud = schema, cloud
        self._configs: dict[str, Values] = {}  # by caller: terraform connects once for each provider block

    def handlers(self) -> Mapping[str, Handler]:
        return {
            "GetSchema": lambda *_: self._declared,
            "PrepareProviderConfig": lambda request, _: {"prepared_config": request.config},
            "Configure": self._configure,
            "ValidateResourceTypeConfig": self._validate("resource_schemas"),
            "ValidateDataSourceConfig": self._validate("data_source_schemas"),
            "ValidateEphemeralResourceConfig": self._validate("ephemeral_resource_schemas"),
            "UpgradeResourceState": lambda request, _: {"upgraded_state": _packed(json.loads(request.raw_state.json))},
            "ReadResource": lambda request, _: {"new_state": request.current_state},
            "PlanResourceChange": self._plan,
            "ApplyResourceChange": self._apply,
            "ReadDataSource": lambda *given: {"state": self._read("data_source_schemas", *given)},
            "OpenEphemeralResource": lambda *given: {"result": self._read("ephemeral_resource_schemas", *given)},
            "CloseEphemeralResource": lambda *_: {},
            "Stop": lambda *_: {},
        }

    def _block(self, kind: str, name: str) -> Mapping[str, Any]:
        block: Mapping[str, Any] = self._schema[kind][name]["block"]
        return block

    @cached_property
    def _declared(self) -> Mapping[str, Any]:
        def entries(kind: str) -> list[Any]:
            return [MESSAGES["Entry"](key=name, value=_schema(value)) for name, value in self._schema.get(kind, {}).items()]

        kinds = ("resource_schemas", "data_source_schemas", "ephemeral_resource_schemas")
        return {"provider": _schema(self._schema["provider"]), **{kind: entries(kind) for kind in kinds}}

    def _configure(self, request: Any, caller: str) -> Mapping[str, Any]:
        self._configs[caller] = _unpacked(request.config)
        return {}

    def _validate(self, kind: str) -> Handler:
        def validate(request: Any, _: str) -> Mapping[str, Any]:
            faults = _faults(self._block(kind, request.type_name), _unpacked(request.config), "")
            return {"diagnostics": [_error(fault) for fault in faults]}

        return validate

    def _plan(self, request: Any, caller: str) -> Mapping[str, Any]:
        planned = _unpacked(request.proposed_new_state)
        if planned is not None:
            self._fill(
                "resource_schemas", request.type_name, planned, self._configs[caller], known=self._cloud.known, made_up=False
            )
        return {"planned_state": _packed(planned)}

    def _apply(self, request: Any, caller: str) -> Mapping[str, Any]:
        prior, new = _unpacked(request.prior_state), _unpacked(request.planned_state)
        if new is not None:
            self._fill("resource_schemas", request.type_name, new, self._configs[caller], known=True, made_up=True)
        resource = Resource("delete" if new is None else "update" if prior else "create", request.type_name, new or prior)
        with self._cloud.lock:
            for rule in self._cloud.rules if new else ():
                if refused := rule(self._cloud.resources, resource):
                    return {"new_state": request.prior_state, "diagnostics": [_error(refused)]}
            self._cloud.resources.append(resource)
        return {"new_state": _packed(new)}

    def _read(self, kind: str, request: Any, caller: str) -> Any:
        values = _unpacked(request.config)
        self._fill(kind, request.type_name, values, self._configs[caller], known=True, made_up=True)
        return _packed(values)

    def _fill(self, kind: str, name: str, root: Values, config: Values, *, known: bool, made_up: bool) -> None:
        """Gives each computed attribute that has no value one: `known`, the predicted; else unknown or, `made_up`, any."""
        prediction = _Prediction(name, root, config, applying=made_up)
        for path, attribute, values in _walked(self._block(kind, name), root, ""):
            key = path.rpartition(".")[2]
            if attribute.get("write_only"):
                values[key] = None
            elif attribute.get("computed") and (values[key] is None or isinstance(values[key], msgpack.ExtType)):
                value = prediction.value(path) if known else _UNKNOWN
                values[key] = _made_up(attribute["type"], f"{key}-of-{name}") if made_up and value == _UNKNOWN else value


def _walked(block: Mapping[str, Any], values: Values, above: str) -> Iterator[tuple[str, Mapping[str, Any], Values]]:
    """Each attribute of `values`: its dotted path, its schema, and the object that holds it."""
    for name, attribute in block["attributes"].items():
        yield f"{above}{name}", attribute, values
    for name, nested in block.get("block_types", {}).items():
        inner = values[name]
        for one in inner if isinstance(inner, list) else [inner] if isinstance(inner, dict) else []:
            yield from _walked(nested["block"], one, f"{above}{name}.")


def _faults(block: Mapping[str, Any], values: Values, above: str) -> Iterator[str]:
    for path, attribute, holder in _walked(block, values, above):
        value = holder[path.rpartition(".")[2]]
        if value is not None and not attribute.get("required") and not attribute.get("optional"):
            yield f"Can't configure a value for {path}: Google decides it"
        if attribute.get("required") and value == "" and not attribute.get("may_be_empty"):
            yield f"{path} must not be empty"
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str) and one not in attribute.get("enum", [one]):
                yield f"{path} must be one of {', '.join(attribute['enum'])}, got {one}"


# --- Messages


def _packed(value: Any) -> Any:
    return MESSAGES["DynamicValue"](msgpack=msgpack.packb(value))


def _unpacked(value: Any) -> Values:
    values: Values = msgpack.unpackb(value.msgpack, strict_map_key=False)  # None for a resource that does not exist
    return values


def _error(sentence: str) -> Any:
    return MESSAGES["Diagnostic"](severity=1, summary=sentence)


def _schema(schema: Mapping[str, Any]) -> Any:
    return MESSAGES["Schema"](block=_message(schema["block"]))


def _message(block: Mapping[str, Any]) -> Any:
    marks = ("required", "optional", "computed", "sensitive", "write_only")
    return MESSAGES["Block"](
        attributes=[
            MESSAGES["Attribute"](
                name=name,
                type=json.dumps(attribute["type"]).encode(),
                **{mark: attribute[mark] for mark in marks if mark in attribute},
            )
            for name, attribute in block["attributes"].items()
        ],
        block_types=[
            MESSAGES["NestedBlock"](
                type_name=name,
                block=_message(nested["block"]),
                nesting=_NESTING[nested["nesting_mode"]],
                min_items=nested.get("min_items", 0),
                max_items=nested.get("max_items", 0),
            )
            for name, nested in block.get("block_types", {}).items()
        ],
    )
