"""Whatever is taken out of terraform/, terraform or the checks notice: each index, variable, topic, role, dead letter and argument.

The sweep tells without terraform who notices which piece; terraform itself is asked for one of each kind, where the sweep cannot tell,
and for an apply to an empty project. `pytest -s` shows the numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import pytest

from tests.terraform.exempt import EXEMPT
from tests.terraform.facts import Facts, facts
from tests.terraform.hcl import every
from tests.terraform.mutants import SURVIVES, Mutant, exempt, mutants, mutated, real, side_by_side, told
from tests.terraform.provider import EMPTY_PROJECT
from tests.terraform.variants import VARIANTS
from tests.terraform.workspace import Refused, Workspace, sources

Workspaces = Callable[..., Workspace]

# One of each kind, taken out of the text and given to terraform.
KINDS = (
    "locals.indexes.subscribers.segments",  # an index
    "locals.indexes.marks.due",
    "locals.indexes.consents",  # an exemption from indexing
    "locals.expiring.batches",  # a TTL
    "locals.expiring.minutes",
    "variable.alert_email",  # a variable
    "variable.tenant.default",  # what makes it optional
    "resource.google_pubsub_topic.events",  # topics
    "resource.google_pubsub_topic.dead",
    "locals.steps.send_batch.publishes.engagement-events",  # a right to publish
    "resource.google_project_iam_custom_role.secret",  # a role
    "resource.google_project_iam_custom_role.secret.permissions.secretmanager.versions.list",  # a permission
    "resource.google_project_iam_member.store.condition",
    "locals.steps.record.store.update",
    "locals.steps.launch.objects.create",
    "locals.deployer_roles.roles/run.admin",
    "resource.google_pubsub_subscription.push.dead_letter_policy",  # dead letters
    "resource.google_pubsub_subscription.dead",
    "resource.google_pubsub_topic_iam_member.dead",
    "resource.google_pubsub_subscription_iam_member.dead",
    "resource.google_pubsub_subscription.push.push_config.content.push_endpoint",  # a required argument
    "resource.google_pubsub_subscription.push.push_config.content.oidc_token",
    "resource.google_pubsub_subscription.push.expiration_policy",
    "resource.google_cloud_scheduler_job.tick.http_target.oidc_token",
    "resource.google_cloud_scheduler_job.tick.paused",
    "resource.google_cloudfunctions2_function.step.service_config.ingress_settings",
    "resource.google_cloudfunctions2_function.step.service_config.all_traffic_on_latest_revision",
    "resource.google_cloud_run_v2_service_iam_member.caller",
    "locals.secrets.signing-key",  # a secret
    "locals.secrets.pepper",
    "resource.google_secret_manager_secret_iam_member.given",
    "resource.google_secret_manager_secret.this.lifecycle.prevent_destroy",
    "resource.google_firestore_database.this.lifecycle",
    "resource.google_firestore_database.this.delete_protection_state",
    "resource.google_firestore_backup_schedule.daily",
    "resource.google_storage_bucket.objects.public_access_prevention",
    "locals.env.PUSH_AUDIENCE",  # a setting
    "locals.env.TRUSTED_HOPS",
    "locals.steps.send_batch.env.PROVIDERS",
    "locals.steps.track",  # a step
    "locals.steps.record",
    "locals.steps.live",
    "locals.steps.launch.timeout",  # a column
    "locals.steps.report.every",
    "locals.steps.inbox.wanted",
    "locals.steps.notify.wanted",
    "locals.steps.notify.env.EVENTS_OUT",
    "locals.idle.inbox",
    "locals.apis.sheets",  # an API
    "locals.metrics.push_lag",  # a metric
    "locals.metrics.endpoints_disabled.labels.endpoint",
    "locals.alerts.dead_letters",  # an alert
    "resource.google_logging_project_exclusion.public_requests",
    "resource.google_compute_backend_service.step.log_config",
    "resource.google_service_account.step.depends_on",  # what waits for its API
)


@pytest.fixture(scope="module")
def code() -> Facts:
    return facts()


@pytest.fixture(scope="module")
def noticed(workspaces: Workspaces, code: Facts) -> Mapping[Mutant, str]:
    return told(sources(), code)


def test_whatever_is_taken_out_somebody_notices(noticed: Mapping[Mutant, str]) -> None:
    counts = Counter(noticed.values())
    print(f"\n{len(noticed)} mutants:", ", ".join(f"{count} by {who or 'nobody, exempt'}" for who, count in counts.most_common()))
    survivors = [f"{file}: {piece.name}" for (file, piece), who in noticed.items() if who in ("", SURVIVES) and not exempt(piece)]
    assert not survivors, "Nobody notices when this is gone:\n" + "\n".join(survivors)


def test_every_exemption_is_needed(noticed: Mapping[Mutant, str]) -> None:
    used = {exempt(piece) for (_, piece), who in noticed.items() if who in ("", SURVIVES)}
    assert [entry for entry in EXEMPT if entry not in used] == []


def test_terraform_says_so_too_of_each_kind(workspaces: Workspaces, code: Facts) -> None:
    files = sources()
    wanted = [mutant for mutant in mutants(files) if mutant[1].name in KINDS]
    assert {piece.name for _, piece in wanted} == set(KINDS)
    found = dict(side_by_side(wanted, files, lambda workspace, mutant: real(workspace, files, mutant, code)))
    print(
        f"\n{len(found)} through terraform:",
        ", ".join(f"{count} by {who}" for who, count in Counter(found.values()).most_common()),
    )
    assert [piece.name for (_, piece), who in found.items() if who == SURVIVES] == []


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("locals.apis.pubsub", "pubsub.googleapis.com has not been used in this project"),
        ("locals.apis.run", "run.googleapis.com has not been used in this project"),
    ],
)
def test_an_empty_project_refuses_what_came_too_early(workspaces: Workspaces, name: str, sentence: str) -> None:
    files = sources()
    piece = every(files)[name]
    [mutant] = [mutant for mutant in mutants(files) if mutant[1] == piece]
    with pytest.raises(Refused, match=sentence):
        workspaces(mutated(files, mutant), rules=EMPTY_PROJECT).apply(**VARIANTS["minimal"])


def test_a_survivor_is_told(workspaces: Workspaces, code: Facts) -> None:
    """The control: what nobody asks for is taken out unnoticed."""
    files = sources()
    [mutant] = [mutant for mutant in mutants(files) if mutant[1].name == "resource.google_service_account.builder.display_name"]
    [(_, who)] = side_by_side([mutant], files, lambda workspace, given: real(workspace, files, given, code, ["minimal"]))
    assert who == SURVIVES
