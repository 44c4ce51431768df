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

# One of each kind that the sweep judges by the plan, taken out of the text and given to terraform.
KINDS = (
    "locals.indexes.subscribers.segments",  # an index
    "locals.indexes.consents",  # an exemption from indexing
    "locals.expiring.batches",  # a TTL
    "resource.google_pubsub_topic.events",  # a topic
    "locals.steps.send_batch.publishes.engagement-events",  # a right to publish
    "resource.google_project_iam_custom_role.secret",  # a role
    "resource.google_project_iam_custom_role.secret.permissions.secretmanager.versions.list",  # a permission
    "locals.steps.record.store.update",  # a verb
    "locals.deployer_roles.roles/run.admin",  # a role of the deployer
    "resource.google_pubsub_subscription.push.dead_letter_policy",  # a block
    "resource.google_pubsub_subscription_iam_member.dead",  # a resource
    "resource.google_pubsub_subscription.push.push_config.content.push_endpoint",  # a required argument
    "resource.google_cloud_scheduler_job.tick.paused",  # an argument that only a paused product has
    "resource.google_cloudfunctions2_function.step.service_config.ingress_settings",  # an argument in a block
    "resource.google_compute_backend_service.step.log_config",  # what only a product with a domain has
    "locals.secrets.signing-key",  # a secret
    "locals.env.PUSH_AUDIENCE",  # a setting of all steps
    "locals.steps.send_batch.env.PROVIDERS",  # a setting of one
    "locals.steps.launch.timeout",  # a column
    "locals.apis.sheets",  # an API
    "locals.metrics.endpoints_disabled.labels.endpoint",  # a metric's label
    "locals.alerts.dead_letters",  # an alert
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
