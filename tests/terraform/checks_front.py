"""What comes with a variable: the load balancer with a domain, the budget, Cloud Build's deployer; and the APIs that all need."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from tests.terraform.facts import ROOT
from tests.terraform.seen import GIVEN, Seen, Table, at, compare, differing, service

_API = {  # part of a resource type -> the API behind it; what the steps themselves call is below
    "google_artifact_registry_": "artifactregistry",
    "google_bigquery_": "bigquery",
    "google_billing_account_iam_": "cloudbilling",
    "google_billing_budget": "billingbudgets",
    "google_cloud_run_": "run",
    "google_cloud_scheduler_": "cloudscheduler",
    "google_cloudfunctions2_": "cloudfunctions",
    "google_compute_": "compute",
    "google_firestore_": "firestore",
    "google_logging_": "logging",
    "google_monitoring_": "monitoring",
    "google_project_iam_": "cloudresourcemanager",
    "google_pubsub_": "pubsub",
    "google_secret_manager_": "secretmanager",
    "google_service_account": "iam",
    "google_storage_": "storage",
}
_BESIDES = {
    "cloudbuild": "functions are built by it",
    "drive": "launch reads templates",
    "iamcredentials": "tokens of the callers",
    "sheets": "launch and sync_sheet call it",
}
_BALANCER: Table = {
    "google_compute_url_map.public": {
        "default_url_redirect.https_redirect": True,
        "default_url_redirect.path_redirect": "/subscribe",
        "default_url_redirect.redirect_response_code": "FOUND",
        "default_url_redirect.strip_query": True,
    },
    "google_compute_url_map.https_only": {
        "default_url_redirect.https_redirect": True,
        "default_url_redirect.redirect_response_code": "MOVED_PERMANENTLY_DEFAULT",
        "default_url_redirect.strip_query": False,
    },
    "google_compute_ssl_policy.this": {"profile": "MODERN", "min_tls_version": "TLS_1_2"},
    "google_compute_target_https_proxy.this": {"ssl_certificates": GIVEN, "ssl_policy": GIVEN, "url_map": GIVEN},
    "google_compute_target_http_proxy.this": {"url_map": GIVEN},
    "google_compute_backend_bucket.assets": {
        "enable_cdn": True,
        "cdn_policy.cache_mode": "CACHE_ALL_STATIC",
        "cdn_policy.default_ttl": 86400,
        "cdn_policy.client_ttl": 86400,
        "cdn_policy.max_ttl": 2592000,
    },
}


def apis(seen: Seen) -> Iterator[str]:
    """Each that something here needs is enabled, and stays when this goes."""
    kinds = {one.type for one in seen.plan.instances if one.mode == "managed"}
    wanted = {api for part, api in _API.items() if any(kind.startswith(part) for kind in kinds)} | set(_BESIDES)
    found = seen.plan.of("google_project_service")
    enabled = {str(one.values["service"]) for one in found}
    yield from compare("APIs", enabled, {f"{api}.googleapis.com" for api in wanted})
    for one in found:
        yield from differing(one.address, one.values, {"disable_on_destroy": False})


def balancer(seen: Seen) -> Iterator[str]:
    """Each public step of each region stands behind the domain, under its name, which it does not see; nothing else does."""
    if not seen.domain:
        for one in seen.plan.instances:
            if one.type.startswith("google_compute_"):
                yield f"{one.address} stands in front of nothing: there is no domain."
        return
    yield from seen.fixed(_BALANCER)
    yield from _backends(seen)
    yield from _routes(seen)
    yield from _front(seen)


def _backends(seen: Seen) -> Iterator[str]:
    groups = {}
    for one in seen.plan.of("google_compute_region_network_endpoint_group"):
        groups[one.values["id"]] = (at(one.values, "cloud_run.service"), one.values["region"])
        yield from differing(one.address, one.values, {"network_endpoint_type": "SERVERLESS"})
    regions = seen.variables["regions"]
    services = {service(step) for step in seen.facts.public}
    yield from compare("endpoint groups", set(groups.values()), {(name, region) for name in services for region in regions})
    found = seen.plan.of("google_compute_backend_service")
    yield from compare("backend services", {str(one.values["name"]) for one in found}, services)
    for one in found:
        name = one.values["name"]
        behind = {groups.get(backend["group"]) for backend in one.values["backend"]}
        yield from compare(f"what is behind {name}", behind, {(name, region) for region in regions})
        wanted = {"load_balancing_scheme": "EXTERNAL_MANAGED", "protocol": "HTTPS", "log_config.enable": False}
        if len(regions) > 1:
            wanted |= {
                "outlier_detection.consecutive_errors": 5,
                "outlier_detection.enforcing_consecutive_errors": 100,
                "outlier_detection.max_ejection_percent": 50,
                "outlier_detection.interval.seconds": 1,
                "outlier_detection.base_ejection_time.seconds": 30,
            }
        else:
            wanted["outlier_detection"] = []
        yield from differing(one.address, one.values, wanted)


def _routes(seen: Seen) -> Iterator[str]:
    where = {
        **{one.values["id"]: one.values["name"] for one in seen.plan.of("google_compute_backend_service")},
        **{one.values["id"]: one.values["bucket_name"] for one in seen.plan.of("google_compute_backend_bucket")},
    }
    wanted: set[tuple[str, str, str | None]]
    wanted = {(f"/{step}{end}", service(step), "/") for step in seen.facts.public for end in ("", "/*")}
    wanted.add(("/assets/*", f"{seen.project}-assets", None))  # as it is: the bucket's folder is called so
    for one in seen.at_address("google_compute_url_map.public"):
        found = set()
        for rule in at(one.values, "path_matcher.path_rule") or []:
            rewritten = at(rule, "route_action.url_rewrite.path_prefix_rewrite")
            found |= {(path, where.get(rule["service"]), rewritten) for path in rule["paths"]}
        yield from compare("paths", found, wanted)
        unknown = where.get(at(one.values, "path_matcher.default_service"))
        if unknown != "subscribe":
            yield f"Other paths go to {unknown}, not to subscribe, which answers them with a plain 404."
        expected = {
            "host_rule.hosts": [seen.domain],
            "host_rule.path_matcher": at(one.values, "path_matcher.name"),
            "default_url_redirect.host_redirect": seen.domain,
            "default_service": None,
        }
        yield from differing(one.address, one.values, expected)


def _front(seen: Seen) -> Iterator[str]:
    """Address, port, proxy, certificate and map hang together."""
    prefix = f"projects/{seen.project}/global"
    certificate = seen.one("google_compute_managed_ssl_certificate")
    yield from differing("the certificate", certificate, {"managed.domains": [seen.domain], "name": GIVEN})
    secure = {
        "url_map": f"{prefix}/urlMaps/pipeline",
        "ssl_certificates": [certificate.get("id")],
        "ssl_policy": seen.one("google_compute_ssl_policy").get("id"),
    }
    yield from differing("https", seen.one("google_compute_target_https_proxy"), secure)
    yield from differing(
        "http", seen.one("google_compute_target_http_proxy"), {"url_map": f"{prefix}/urlMaps/pipeline-https-only"}
    )
    address = seen.one("google_compute_global_address").get("id")
    if address is None:
        yield "There is no address for the domain."
    proxies = {"443": "targetHttpsProxies", "80": "targetHttpProxies"}
    rules = seen.plan.of("google_compute_global_forwarding_rule")
    yield from compare("ports", {str(one.values["port_range"]) for one in rules}, set(proxies))
    for one in rules:
        wanted = {
            "load_balancing_scheme": "EXTERNAL_MANAGED",
            "ip_address": address,
            "ip_protocol": "TCP",
            "target": f"{prefix}/{proxies.get(str(one.values['port_range']))}/pipeline",
        }
        yield from differing(one.address, one.values, wanted)


def budget(seen: Seen) -> Iterator[str]:
    """As the operator said, for this project alone."""
    given = seen.variables["budget"]
    found = seen.plan.of("google_billing_budget")
    if len(found) != (given is not None):
        yield f"There are {len(found)} budgets."
    for one in found if given else []:
        channels = [channel.values["name"] for channel in seen.plan.of("google_monitoring_notification_channel")]
        wanted = {
            "billing_account": given["billing_account"],
            "amount.specified_amount.units": str(int(given["amount"])),
            "budget_filter.projects": ["projects/123456789012"],
            "budget_filter.calendar_period": "MONTH",
            "all_updates_rule.monitoring_notification_channels": channels or None,
        }
        yield from differing(one.address, one.values, wanted)
        rules = {(rule["threshold_percent"], rule["spend_basis"]) for rule in one.values["threshold_rules"]}
        yield from compare("thresholds", rules, {(0.5, "CURRENT_SPEND"), (1, "CURRENT_SPEND"), (1, "FORECASTED_SPEND")})


def deployer(seen: Seen) -> Iterator[str]:
    """A push to main of the named repository deploys."""
    repository = seen.variables["repository"]
    found = seen.plan.of("google_cloudbuild_trigger")
    if len(found) != (repository is not None):
        yield f"There are {len(found)} triggers."
    for one in found if repository else []:
        wanted = {
            "location": repository.split("/")[3],
            "filename": "cloudbuild.yaml",
            "service_account": f"projects/{seen.project}/serviceAccounts/deployer@{seen.project}.iam.gserviceaccount.com",
            "repository_event_config.repository": repository,
            "repository_event_config.push.branch": "^main$",
            "disabled": None,
            "name": GIVEN,
        }
        yield from differing(one.address, one.values, wanted)
        given = one.values["substitutions"] or {}
        yield from differing(one.address, given, {"_STATE_BUCKET": seen.variables["state_bucket"]})
        wanted = {name: value for name, value in seen.variables.items() if name != "hold"}
        handed: dict[str, object] = json.loads(given.get("_VARIABLES") or "{}")
        yield from differing("what the trigger plans with", handed, wanted)
        yield from compare("variables of the trigger", set(handed), set(wanted))
        asked = set(re.findall(r"^  (_\w+):", (ROOT / "cloudbuild.yaml").read_text("utf-8"), re.M))
        yield from compare("substitutions of cloudbuild.yaml", set(given), asked)


def outputs(seen: Seen) -> Iterator[str]:
    """What an operator and cloudbuild.yaml ask for."""
    wanted = {
        "public_url": seen.public_url,
        "tenant": seen.variables["tenant"],
        "firestore_database": seen.database,
        "share_with": {step: seen.account(step) for step in ("launch", "sync_sheet")},
        "endpoints": {step: seen.endpoint(step) for step in (*seen.facts.ticked, *seen.facts.pushed)},
        "balancer_address": seen.one("google_compute_global_address").get("address"),
    }
    yield from compare("outputs", set(seen.plan.outputs), set(wanted))
    yield from differing("the outputs", seen.plan.outputs, wanted)


GROUPS = {"apis": apis, "balancer": balancer, "budget": budget, "deployer": deployer, "outputs": outputs}
