"""terraform/ deploys what the code needs, as real terraform plans it: checks.py says what that is, in sentences."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.terraform.checks import GROUPS, faults
from tests.terraform.checks_text import FORM, text_faults
from tests.terraform.facts import ROOT, Facts, facts
from tests.terraform.provider import EMPTY_PROJECT
from tests.terraform.seen import Seen, at
from tests.terraform.variants import REFUSED, VARIANTS, alone, bad, planned
from tests.terraform.workspace import Plan, Refused, Workspace, sources

Workspaces = Callable[..., Workspace]


@pytest.fixture(scope="session")
def code() -> Facts:
    return facts()


@pytest.fixture(scope="session")
def plans(workspaces: Workspaces) -> Mapping[str, Plan]:
    return planned()


@pytest.fixture(scope="session")
def form(workspaces: Workspaces, code: Facts) -> Workspace:
    """Variables alone, for their validations."""
    return workspaces(alone(sources(), code.triggers))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("group", GROUPS)
def test_the_deployment_is_what_the_code_needs(plans: Mapping[str, Plan], code: Facts, variant: str, group: str) -> None:
    found = list(GROUPS[group](Seen(plans[variant], code)))
    assert not found, "\n".join(found)


def test_the_text_protects_orders_and_explains(code: Facts) -> None:
    found = text_faults(sources(), code)
    assert not found, "\n".join(found)


def test_it_is_valid_and_formatted(workspaces: Workspaces) -> None:
    workspaces().validate()
    command = ["terraform", f"-chdir={ROOT / 'terraform'}", "fmt", "-check", "-recursive"]
    unformatted = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TF_CLI_CONFIG_FILE": os.devnull})
    assert (unformatted.returncode, unformatted.stdout) == (0, "")


def _values(plan: Plan) -> dict[str, Any]:
    """Address and argument -> value, of what two plans are compared by."""
    return {f"{one.address} {name}": value for one in plan.instances for name, value in one.values.items()}


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        ({"paused": True}, r'push\["\w+"\] push_config|tick\["\w+"\] paused|alert_policy.this\["(waiting|tick_\w+)"\] enabled'),
        ({"hold": ["track"]}, r'function.step\["track"\] service_config'),
        ({"smoke_address": "operator@lumen-coffee.com"}, "nothing"),
    ],
    ids=["paused", "hold", "smoke_address"],
)
def test_a_variable_changes_that_and_nothing_else(
    workspaces: Workspaces, plans: Mapping[str, Plan], change: Mapping[str, Any], moved: str
) -> None:
    before, after = _values(plans["minimal"]), _values(workspaces().plan(**VARIANTS["minimal"], **change))
    assert before.keys() == after.keys()
    changed = [name for name in before if repr(before[name]) != repr(after[name])]
    assert [name for name in changed if not re.search(f"({moved})$", name)] == []
    assert changed or moved == "nothing"


def test_what_stands_still_when_paused(plans: Mapping[str, Plan], code: Facts) -> None:
    found = plans["paused"]
    seen = Seen(found, code)
    still = {one.values["name"] for one in found.of("google_pubsub_subscription") if not one.values["push_config"]}
    assert "notify-crm" in still and still == seen.subscriptions.keys() | seen.dead
    assert {one.key for one in found.of("google_cloud_scheduler_job") if one.values["paused"]} == set(seen.facts.ticked)


def test_every_region_has_the_public_steps_and_the_first_has_them_all(plans: Mapping[str, Plan], code: Facts) -> None:
    regions = VARIANTS["three regions"]["regions"]
    seen = Seen(plans["three regions"], code)
    assert len(regions) == 3
    assert set(seen.functions) == {(step, regions[0]) for step in seen.facts.triggers} | {
        (step, region) for step in code.public for region in regions
    }


def test_what_nobody_wants_is_not_there(plans: Mapping[str, Plan]) -> None:
    named = {"inbox": "inbox|imap-password", "notify": "notify|events-out|endpoints_disabled"}

    def made(variant: str, step: str) -> list[str]:
        apart = r"google_logging_metric|google_firestore_field"  # which cost nothing, and nobody runs
        addresses = [one.address for one in plans[variant].instances if not re.match(apart, one.address)]
        return [address for address in addresses if re.search(named[step], address)]

    for variant, step in (("minimal", "inbox"), ("minimal", "notify"), ("paused", "inbox"), ("three regions", "notify")):
        assert made(variant, step) == []
    assert all(len(made("everything", step)) > 10 for step in named)


def test_a_held_step_keeps_its_traffic_where_it_is(plans: Mapping[str, Plan]) -> None:
    path = "service_config.all_traffic_on_latest_revision"
    held = {one.key for one in plans["held"].of("google_cloudfunctions2_function") if at(one.values, path) is False}
    assert held == {"track"}


@pytest.mark.parametrize("answers", ["as it is", "every answer"])
def test_the_form_for_operators_can_be_planned(workspaces: Workspaces, code: Facts, answers: str) -> None:
    text = FORM.read_text("utf-8")
    if answers == "every answer":
        text = re.sub(r"^# (?=\w+ *= |  \w+ *= |\}$)", "", text, flags=re.M)
        assert "\ndomain = " in text
    found = faults(workspaces({**sources(), "terraform.tfvars": text}).plan(), code)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("validation", "number"), [(name, number) for name, values in REFUSED.items() for number in range(len(values))]
)
def test_a_bad_value_is_refused(form: Workspace, validation: str, number: int) -> None:
    with pytest.raises(Refused, match="Invalid value for variable"):
        form.plan(**bad(number, validation))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_good_value_is_accepted(form: Workspace, variant: str) -> None:
    given = form.plan(**VARIANTS[variant]).json["variables"]
    assert given["project"] == {"value": VARIANTS[variant]["project"]}


@pytest.mark.parametrize("variant", ["minimal", "everything"])
def test_an_empty_project_takes_it_all_at_once_and_then_nothing_changes(workspaces: Workspaces, variant: str) -> None:
    workspace = workspaces(rules=EMPTY_PROJECT)
    made = workspace.apply(**VARIANTS[variant])
    assert len(made.resources) > 150
    assert workspace.plan(**VARIANTS[variant]).changes == []


def test_it_can_be_planned_before_anything_is_known(workspaces: Workspaces) -> None:
    """As with Google, where e-mails and ids are known after an apply: no key of a for_each may depend on one."""
    assert len(workspaces(known=False).plan(**VARIANTS["everything"]).changes) > 200
