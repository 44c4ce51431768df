"""What a plan does not show of terraform/: what is protected from a destroy, what waits for what, versions, variables and the order
of its maps. Read from the text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from tests.terraform.facts import ROOT, Facts
from tests.terraform.hcl import every, reaches

FORM = ROOT / "terraform" / "terraform.tfvars.example"
_API = "google_project_service.api"
_INVOKER = "google_cloud_run_v2_service_iam_member.caller"
# address -> what has to be there before it, and why; besides the APIs, which everything waits for
BEFORE: Mapping[str, tuple[Sequence[str], str]] = {
    "google_cloudfunctions2_function.step": (
        (
            "google_artifact_registry_repository_iam_member.builder",
            "google_project_iam_member.builder",
            "google_project_iam_member.sources",
            "google_project_iam_member.store",
            "google_pubsub_topic_iam_member.publisher",
            "google_secret_manager_secret_iam_member.reader",
            "google_storage_bucket_iam_member.objects",
            "google_storage_bucket_iam_member.pictures",
            "google_storage_bucket_object.source",
        ),
        "it would fail to build, or answer its first callers with errors",
    ),
    "google_pubsub_subscription.push": (
        (_INVOKER, "google_service_account_iam_member.push"),
        "its first pushes would be refused and count as attempts",
    ),
    "google_cloud_scheduler_job.tick": ((_INVOKER,), "its first ticks would be refused"),
    "google_pubsub_subscription.bigquery": (
        ("google_bigquery_table_iam_member.writer",),
        "Pub/Sub refuses one to a table that it may not write",
    ),
    "google_secret_manager_secret_iam_member.reader": (("google_secret_manager_secret.this",), "there is nothing to read yet"),
    "google_firestore_field.indexed": (("google_firestore_field.none",), "the exemption would take the index away again"),
    "google_firestore_field.expiring": (("google_firestore_field.none",), "the exemption comes first for every field"),
    "google_cloudbuild_trigger.main": (("google_project_iam_member.deployer",), "its first build would have no rights"),
    "google_monitoring_alert_policy.this": (("google_logging_metric.this",), "it asks for metrics that do not exist yet"),
    "google_monitoring_dashboard.this": (("google_logging_metric.this",), "it draws metrics that do not exist yet"),
}
# piece -> its text, up to a comment. What is destroyed by mistake would be gone; what another thing names cannot be replaced in place.
TEXT: Mapping[str, str] = {
    "resource.google_firestore_database.this.lifecycle.prevent_destroy": "true",
    "resource.google_storage_bucket.objects.lifecycle.prevent_destroy": "true",
    "resource.google_secret_manager_secret.this.lifecycle.prevent_destroy": "true",
    "resource.google_secret_manager_secret_version.first.lifecycle.prevent_destroy": "true",
    "resource.google_compute_managed_ssl_certificate.this.lifecycle.create_before_destroy": "true",
    "resource.google_monitoring_uptime_check_config.health.lifecycle.create_before_destroy": "true",
    "resource.google_project_service_identity.pubsub.provider": "google-beta",
    "resource.google_billing_budget.monthly.provider": "google.billing",
    "resource.google_billing_account_iam_member.deployer.provider": "google.billing",
    "ephemeral.random_password.made_up.length": "64",
    "ephemeral.random_password.made_up.special": "false",
    "terraform.required_version": '">= 1.11.0"',
    "terraform.required_providers.google.source": '"hashicorp/google"',
    "terraform.required_providers.google.version": '"~> 7.30"',
    "terraform.required_providers.google-beta.source": '"hashicorp/google-beta"',
    "terraform.required_providers.google-beta.version": '"~> 7.30"',
    "terraform.required_providers.random.source": '"hashicorp/random"',
    "terraform.required_providers.random.version": '"~> 3.7"',
    "terraform.backend.gcs.prefix": '"subscriber-pipeline"',
    "provider.google.project": "var.project",
    "provider.google.region": "local.region",
    "provider.google-beta.project": "var.project",
    "provider.google-beta.region": "local.region",
    "provider.google.2.alias": '"billing"',
    "provider.google.2.project": "var.project",
    "provider.google.2.billing_project": "var.project",
    "provider.google.2.user_project_override": "true",
}
_REQUIRED = frozenset({"project", "mail_providers"})


def text_faults(files: Mapping[str, str], facts: Facts) -> list[str]:
    """All that is wrong with the text; [] when nothing is."""
    return [
        *(sentence for check in (said, before, variables, places) for sentence in check(files)),
        *orders(files, facts),
    ]


def said(files: Mapping[str, str]) -> Iterator[str]:
    found = every(files)
    for name, wanted in TEXT.items():
        given = re.sub(r"\s*#.*", "", found[name].value).strip() if name in found else None
        if given != wanted:
            yield f"{name} is {given}, not {wanted}."


def before(files: Mapping[str, str]) -> Iterator[str]:
    """Every call goes to an API that is on, and what needs a thing waits for it."""
    earlier = reaches(files)
    for address, names in earlier.items():
        if address.startswith("google_") and address != _API and _API not in names:
            yield f"{address} does not wait for its API."
    for address, (wanted, why) in BEFORE.items():
        for name in wanted:
            if name not in earlier.get(address, set()):
                yield f"{address} does not wait for {name}: {why}."


def variables(files: Mapping[str, str]) -> Iterator[str]:
    """Each says what it is, and of what type; the form for operators names those that exist and answers what has no default."""
    found = every(files)
    declared = {piece.path[1] for piece in found.values() if piece.path[0] == "variable"}
    for name in sorted(declared):
        for part in ("description", "type"):
            if f"variable.{name}.{part}" not in found:
                yield f"The variable {name} has no {part}."
        if (f"variable.{name}.default" in found) == (name in _REQUIRED):
            yield f"The variable {name} {'has a default' if name in _REQUIRED else 'is required'}."
    for piece in found.values():
        if (
            piece.kind == "block"
            and len(piece.path) == 2
            and piece.path[0] == "output"
            and f"{piece.name}.description" not in found
        ):
            yield f"The output {piece.path[1]} has no description."
    form = FORM.read_text("utf-8")
    given = set(re.findall(r"^(\w+) *=", form, re.M))
    shown = set(re.findall(r"^(?:# )?(\w+) *=(?!=)", form, re.M))
    for name in sorted(_REQUIRED - given):
        yield f"terraform.tfvars.example does not answer {name}."
    for name in sorted(shown ^ declared):
        yield f"terraform.tfvars.example and variables.tf do not agree on {name}."


def places(files: Mapping[str, str]) -> Iterator[str]:
    """Google refuses an uptime check from fewer than three places; not every continent is planned."""
    for piece in every(files).values():
        if piece.path[-2:-1] == ("selected_regions",) and piece.value.startswith("[") and len(piece.inside) < 3:
            yield f"{piece.name} are fewer than three places."


def orders(files: Mapping[str, str], facts: Facts) -> Iterator[str]:
    """A map that repeats a list of the code is in its order: whoever reads both finds the same line."""
    found = every(files)
    for what, name, wanted in (
        ("metrics are in the order of shared/logs.py", "locals.metrics", list(facts.metrics)),
        ("steps are in the order of README's table", "locals.steps", list(facts.rows)),
    ):
        given = [piece.path[-1] for piece in found[name].inside] if name in found else []
        if given != wanted:
            yield f"Not so: the {what}. {name} has {', '.join(given)}; the other {', '.join(wanted)}."
