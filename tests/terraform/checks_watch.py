"""What is watched, and what must not be kept: metrics, log exclusions, alerts, the knock from outside, the dashboard."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from tests.terraform.seen import GIVEN, Seen, Table, at, compare, differing, service
from tests.terraform.workspace import Instance

# Metrics that say something is wrong, with the label that does. The others tell how much was done.
ALARMING = {"mails_failed": "", "mails_unknown": "", "refused": "", "dead_tokens": 'kind="leave"', "endpoints_disabled": ""}
_MONTH = 31 * 86_400_000  # ms: the longest that a message waits
_QUERY = "conditions.condition_prometheus_query_language"
_HEALTH: Table = {
    "google_monitoring_uptime_check_config.health": {
        "http_check.path": "/subscribe/health",
        "http_check.port": 443,
        "http_check.use_ssl": True,
        "http_check.validate_ssl": True,
        "http_check.accepted_response_status_codes.status_value": 200,
        "monitored_resource.type": "uptime_url",
        "content_matchers.content": '"store": "ok"',
        "content_matchers.matcher": "CONTAINS_STRING",
        "timeout": "10s",
        "period": "900s",
    },
    "google_monitoring_alert_policy.health": {
        "severity": "CRITICAL",
        "conditions.condition_threshold.comparison": "COMPARISON_GT",
        "conditions.condition_threshold.threshold_value": 1,
        "conditions.condition_threshold.duration": "0s",
        "conditions.condition_threshold.aggregations.alignment_period": "1200s",
        "conditions.condition_threshold.aggregations.per_series_aligner": "ALIGN_NEXT_OLDER",
        "conditions.condition_threshold.aggregations.cross_series_reducer": "REDUCE_COUNT_FALSE",
        "conditions.condition_threshold.aggregations.group_by_fields": ["resource.label.host"],
    },
}


def metrics(seen: Seen) -> Iterator[str]:
    """Those of shared/logs.py, as docs/observability.md says; a distribution's borders reach as far as its values."""
    found = {str(one.values["name"]): one for one in seen.plan.of("google_logging_metric")}
    yield from compare("metrics", set(found), set(seen.facts.metrics))
    for name, metric in seen.facts.metrics.items():
        if name not in found:
            continue
        values, labels = found[name].values, ("step", *metric.labels)
        wanted = {
            "description": metric.description,
            "filter": f'resource.type="cloud_run_revision" AND jsonPayload.metrics.{name}:*',
            "value_extractor": f"EXTRACT(jsonPayload.metrics.{name})",
            "label_extractors": {label: f"EXTRACT(jsonPayload.{label})" for label in labels},
            "metric_descriptor.unit": metric.unit,
            "metric_descriptor.metric_kind": "DELTA",
            "metric_descriptor.value_type": "DISTRIBUTION",
        }
        yield from differing(f"the metric {name}", values, wanted)
        declared = {(label["key"], label["value_type"]) for label in at(values, "metric_descriptor.labels") or []}
        yield from compare(f"labels of {name}", declared, {(label, "STRING") for label in labels})
        border = at(values, "bucket_options.exponential_buckets") or [{}]
        scale, growth, count = (border[0].get(part) or 0 for part in ("scale", "growth_factor", "num_finite_buckets"))
        if scale != 1 or not 1 < growth <= 2 or growth**count < (_MONTH if metric.unit == "ms" else 1_000_000):
            yield f"The borders of {name} begin at {scale} and end at {growth}^{count}: too coarse, or too early."


def exclusions(seen: Seen) -> Iterator[str]:
    """No request of a reader is kept: its URL holds a link's token."""
    wanted = {
        "public-requests": _excluded("run.googleapis.com/requests", "cloud_run_revision", "service_name", seen.facts.public)
    }
    if seen.domain:
        rules = ("pipeline-http", "pipeline-https")
        wanted["balancer-requests"] = _excluded("requests", "http_load_balancer", "forwarding_rule_name", rules)
    found = {str(one.values["name"]): one.values for one in seen.plan.of("google_logging_project_exclusion")}
    yield from compare("log exclusions", set(found), set(wanted))
    for name in wanted.keys() & found.keys():
        given = re.sub(
            r"\(([^()]*)\)$", lambda names: f"({' OR '.join(sorted(names[1].split(' OR ')))})", str(found[name]["filter"]).strip()
        )
        if given != wanted[name] or found[name]["disabled"]:
            yield f"The exclusion {name} is not {wanted[name]!r}."


def _excluded(log: str, resource: str, label: str, names: list[str] | tuple[str, ...]) -> str:
    listed = " OR ".join(sorted(f'"{service(name)}"' for name in names))
    return f'log_id("{log}")\nresource.type="{resource}"\nresource.labels.{label}=({listed})'


def alerts(seen: Seen) -> Iterator[str]:
    """Each trouble has its alert, each alert says what to do, and somebody is told."""
    policies = seen.plan.of("google_monitoring_alert_policy")
    asked = {one.address: str(at(one.values, f"{_QUERY}.query") or "") for one in policies}
    wanted: dict[str, tuple[str, set[str]]] = {
        "messages given up": ("subscription_num_undelivered_messages", seen.dead),
        "messages that wait": ("subscription_oldest_unacked_message_age", set(seen.facts.pushed) - {"notify"}),
        "errors of the public steps": ("request_count", {service(step) for step in seen.facts.public} | {"5xx"}),
        **{f"ticks of {step}": ("request_count", {service(step), "2xx"}) for step in seen.facts.ticked},
        **{f"the metric {name}": (f"user_{name}_sum", set()) for name in ALARMING},
    }
    if "notify" not in seen.facts.triggers:
        wanted.pop("the metric endpoints_disabled")
    used = set()
    for trouble, (metric, names) in wanted.items():
        label = ALARMING.get(trouble.removeprefix("the metric "), "")
        found = [one for one, query in asked.items() if metric in query and label in query and names == _selected(query)]
        used |= set(found)
        if not found:
            yield f"No alert tells of {trouble}."
    for one in policies:
        if one.address not in used and one.name != "health":
            yield f"{one.address} tells of something that no check knows."
        yield from _alert(seen, one)


def _selected(query: str) -> set[str]:
    """What the series of a query are chosen by."""
    return {name for listed in re.findall(r'=~"([^"]*)"', query) for name in listed.split("|")}


def _alert(seen: Seen, one: Instance) -> Iterator[str]:
    query = str(at(one.values, f"{_QUERY}.query") or "")
    moving = "oldest_unacked" in query or "2xx" in query  # what stands still when paused
    wanted: dict[str, object] = {
        "combiner": "OR",
        "enabled": not (seen.variables["paused"] and moving),
        "severity": GIVEN,
        "conditions.display_name": GIVEN,
        "documentation.content": GIVEN,
        "documentation.mime_type": "text/markdown",
        "notification_channels": [one.values["name"] for one in seen.plan.of("google_monitoring_notification_channel")],
        "alert_strategy.auto_close": "86400s",
    }
    if one.name == "health":
        wanted["enabled"] = None  # which is true
    else:
        wanted |= {
            f"{_QUERY}.duration": "300s" if "oldest_unacked" in query else "0s",
            f"{_QUERY}.evaluation_interval": "60s",
            f"{_QUERY}.disable_metric_validation": True,
        }
    yield from differing(one.address, one.values, wanted)


def told(seen: Seen) -> Iterator[str]:
    """With an alert_email there is one channel, to it."""
    address = seen.variables["alert_email"]
    channels = seen.plan.of("google_monitoring_notification_channel")
    yield from compare(
        "who is told", {str(at(one.values, "labels.email_address")) for one in channels}, {address} if address else set()
    )
    for one in channels:
        yield from differing(one.address, one.values, {"type": "email", "enabled": None})


def health(seen: Seen) -> Iterator[str]:
    """The sign-up page is knocked at from three places outside, at the readers' own name."""
    yield from seen.fixed(_HEALTH)
    for one in seen.plan.of("google_monitoring_uptime_check_config"):
        wanted = {
            "monitored_resource.labels": {"project_id": seen.project, "host": seen.public_url.removeprefix("https://")},
            "selected_regions": GIVEN,
        }
        yield from differing(one.address, one.values, wanted)
        if len(one.values.get("selected_regions") or []) < 3:
            yield f"{one.address}: Google refuses fewer than three places."
        policy = seen.at_address("google_monitoring_alert_policy.health")
        asked = str(at(policy[0].values, "conditions.condition_threshold.filter")) if policy else ""
        for part in (f'check_id="{one.values["uptime_check_id"]}"', 'resource.type="uptime_url"', "uptime_check/check_passed"):
            if part not in asked:
                yield f"No alert asks for {part}."


def dashboard(seen: Seen) -> Iterator[str]:
    """It is JSON, and what it draws exists."""
    found = seen.at_address("google_monitoring_dashboard.this")
    if len(found) != 1:
        yield "There is no dashboard."
    for one in found:
        drawn = str(one.values["dashboard_json"])
        tiles: list[Mapping[str, object]] = json.loads(drawn).get("mosaicLayout", {}).get("tiles", [])
        if not tiles or not all(set(tile) >= {"width", "height", "widget"} for tile in tiles):
            yield "The dashboard has no tiles, or one without a size or a widget."
        for name in set(re.findall(r"user_(\w+?)(?:_sum|_bucket|_count)?\{", drawn)) - set(seen.facts.metrics):
            yield f"The dashboard draws {name}, which no metric is called."


GROUPS = {
    "metrics": metrics,
    "exclusions": exclusions,
    "alerts": alerts,
    "told": told,
    "health": health,
    "dashboard": dashboard,
}
