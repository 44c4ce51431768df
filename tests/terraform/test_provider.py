"""The harness itself, on small texts: a test of terraform/ is worth as much as the faults that this finds."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.terraform.extract import Module, Use, dumped, used
from tests.terraform.provider import EMPTY_PROJECT, PROJECT_NUMBER
from tests.terraform.workspace import UNKNOWN, Refused, Workspace

pytestmark = pytest.mark.network  # the double is a server
Workspaces = Callable[..., Workspace]

HEAD = """
terraform {
  required_providers {
    google      = { source = "hashicorp/google" }
    google-beta = { source = "hashicorp/google-beta" }
    random      = { source = "hashicorp/random" }
  }
}
provider "google" {
  project        = "demo"
  default_labels = { product = "mail" }
}
provider "google-beta" {
  project = "demo"
}
"""
TOPIC = """
resource "google_pubsub_topic" "one" {
  name = "one"
}
"""
ACCOUNT = """
resource "google_service_account" "caller" {
  account_id = "caller"
}
"""
IAM = """
resource "google_project_service" "iam" {
  service = "iam.googleapis.com"
}
"""


@pytest.fixture(scope="module")
def small(workspaces: Workspaces) -> Callable[[str], Workspace]:
    """One workspace for texts that are planned or validated only."""
    shared = workspaces({"main.tf": HEAD})

    def rewritten(text: str) -> Workspace:
        shared.write({"main.tf": HEAD + text})
        return shared

    return rewritten


SCHEMA_SETTINGS = 'schema_settings {\n schema = "s"\n encoding = "JSON"\n}\n'
REFUSED = {
    "missing argument": ('resource "google_pubsub_topic" "one" {}', 'The argument "name" is required'),
    "unknown argument": (TOPIC.replace("}", 'colour = "red"\n}'), 'An argument named "colour" is not expected here'),
    "unknown block": (TOPIC.replace("}", "retry {}\n}"), 'Blocks of type "retry" are not expected here'),
    "wrong type": (TOPIC.replace("}", "labels = 5\n}"), "map of string required"),
    "block twice": (TOPIC.replace("}", SCHEMA_SETTINGS * 2 + "}"), 'No more than 1 "schema_settings" blocks are allowed'),
    "not in enum": (
        TOPIC.replace("}", SCHEMA_SETTINGS.replace("JSON", "XML") + "}"),
        "schema_settings.encoding must be one of ENCODING_UNSPECIFIED, JSON, BINARY, got XML",
    ),
    "empty": (TOPIC.replace('"one"\n', '""\n'), "name must not be empty"),
    "unknown reference": (TOPIC.replace("}", "id = google_pubsub_topic.two.id\n}"), "Reference to undeclared resource"),
    "unknown attribute": (TOPIC.replace('"one"\n', "google_pubsub_topic.one.colour\n"), 'exported attribute named "colour"'),
    "unknown type": ('resource "google_pubsub_letter" "one" {}', "Invalid resource type"),
    "beta's type": ('resource "google_project_service_identity" "one" {\n service = "x"\n}', "Invalid resource type"),
    "computed": (ACCOUNT.replace("}", 'email = "x"\n}'), "Can't configure a value for email"),
    "ephemeral": (
        'ephemeral "random_password" "p" {\n length = 9\n}' + TOPIC.replace('"one"\n', "ephemeral.random_password.p.result\n"),
        "Invalid use of ephemeral value",
    ),
}


@pytest.mark.parametrize(("text", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_the_schema_does_not_allow_is_refused(small: Callable[[str], Workspace], text: str, sentence: str) -> None:
    with pytest.raises(Refused, match=re.escape(sentence)):
        small(text).validate()


def test_a_sound_text_is_accepted(small: Callable[[str], Workspace]) -> None:
    small(TOPIC.replace("}", SCHEMA_SETTINGS + "}")).validate()


def test_a_cycle_is_refused(small: Callable[[str], Workspace]) -> None:
    other = TOPIC.replace('"one"\n', "google_pubsub_topic.one.name\n").replace('"one"', '"two"')
    with pytest.raises(Refused, match="Cycle"):
        small(TOPIC.replace('"one"\n', "google_pubsub_topic.two.name\n") + other).validate()


def test_a_variables_validation_refuses(small: Callable[[str], Workspace]) -> None:
    text = """
    variable "given" {
      type = object({ number = number })
      validation {
        condition     = var.given.number < 5
        error_message = "Four at most."
      }
    }
    """
    assert small(text + TOPIC).plan(given={"number": 4}).of("google_pubsub_topic")
    with pytest.raises(Refused, match=r"Four at most\."):
        small(text + TOPIC).plan(given={"number": 5})


def test_instances_hold_values_references_and_what_google_computes(small: Callable[[str], Workspace]) -> None:
    plan = small(
        """
        resource "google_service_account" "step" {
          for_each   = { launch = "a", record = "b" }
          account_id = "step-${each.key}"
          description = each.value
          depends_on = [google_pubsub_topic.one]
        }
        resource "google_project_iam_member" "step" {
          project = "demo"
          role    = "roles/viewer"
          member  = google_service_account.step["launch"].member
        }
        resource "google_project_service_identity" "pubsub" {
          provider = google-beta
          service  = "pubsub.googleapis.com"
        }
        provider "google" {
          alias   = "plain"
          project = "demo"
        }
        resource "google_pubsub_subscription" "one" {
          provider = google.plain
          name     = "one"
          topic    = google_pubsub_topic.one.id
        }
        data "google_project" "this" {
          project_id = "demo"
        }
        output "number" {
          value = data.google_project.this.number
        }
        """
        + TOPIC
    ).plan()
    launch, record = plan.of("google_service_account")
    assert (launch.key, record.key) == ("launch", "record")
    assert record.address == 'google_service_account.step["record"]'
    assert record.values["description"] == "b"
    assert record.values["email"] == "step-record@demo.iam.gserviceaccount.com"
    assert record.values["unique_id"] is UNKNOWN
    assert record.references["depends_on"] == ["google_pubsub_topic.one"]
    (member,) = plan.of("google_project_iam_member")
    assert member.values["member"] == "serviceAccount:step-launch@demo.iam.gserviceaccount.com"
    assert 'google_service_account.step["launch"].member' in member.references["member"]
    (topic,) = plan.of("google_pubsub_topic")
    assert topic.values["id"] == "projects/demo/topics/one"
    assert topic.values["effective_labels"] == {"product": "mail"}
    (plain,) = plan.of("google_pubsub_subscription")
    assert (plain.values["effective_labels"], plain.values["topic"]) == ({}, topic.values["id"])
    (agent,) = plan.of("google_project_service_identity")
    assert agent.values["email"] == f"service-{PROJECT_NUMBER}@gcp-sa-pubsub.iam.gserviceaccount.com"
    (project,) = plan.of("google_project")
    assert (project.mode, project.values["number"]) == ("data", PROJECT_NUMBER)
    assert plan.outputs == {"number": PROJECT_NUMBER}


def test_without_known_values_keys_that_need_an_apply_are_refused(workspaces: Workspaces) -> None:
    keyed = TOPIC.replace('name = "one"', "for_each = toset([google_service_account.caller.unique_id])\n  name = each.key")
    with pytest.raises(Refused, match="Invalid for_each argument"):
        workspaces({"main.tf": HEAD + ACCOUNT + keyed}).plan()
    unknown = workspaces({"main.tf": HEAD + ACCOUNT}, known=False)
    assert unknown.plan().of("google_service_account")[0].values["email"] is UNKNOWN
    unknown.write({"main.tf": HEAD + ACCOUNT + keyed.replace("unique_id", "email")})
    with pytest.raises(Refused, match="Invalid for_each argument"):
        unknown.plan()


def test_a_write_only_value_is_in_neither_plan_nor_state(workspaces: Workspaces) -> None:
    text = """
    ephemeral "random_password" "made_up" {
      length = 64
    }
    resource "google_secret_manager_secret_version" "first" {
      secret                 = "projects/demo/secrets/pepper"
      secret_data_wo         = "a-secret-${ephemeral.random_password.made_up.result}"
      secret_data_wo_version = 1
    }
    """
    workspace = workspaces({"main.tf": HEAD + text})
    (version,) = workspace.plan().of("google_secret_manager_secret_version")
    assert version.values["secret_data_wo"] is None and version.values["secret_data_wo_version"] == 1
    workspace.apply()
    assert "a-secret-" not in str(version) + (workspace.folder / "terraform.tfstate").read_text()

    workspace.write({"main.tf": HEAD + text.replace("secret_data_wo  ", "secret_data  ")})
    with pytest.raises(Refused, match="Invalid use of ephemeral value"):
        workspace.plan()


def test_an_apply_computes_what_was_unknown_and_then_nothing_changes(workspaces: Workspaces) -> None:
    bucket = 'resource "google_storage_bucket" "b" {\n name = "b"\n location = "EU"\n lifecycle_rule {\n action {\n type = "Delete"\n }\n'
    workspace = workspaces({"main.tf": HEAD + ACCOUNT + bucket + " condition {\n age = 3\n }\n }\n}"}, known=False)
    applied = workspace.apply()
    assert applied.of("google_service_account")[0].values["email"] == "caller@demo.iam.gserviceaccount.com"
    assert workspace.plan().changes == []
    workspace.write({"main.tf": HEAD + ACCOUNT.replace('"caller"\n', '"caller"\n  description = "x"\n')})
    assert sorted(workspace.plan().changes) == ["google_service_account.caller", "google_storage_bucket.b"]
    assert sorted((one.action, one.type) for one in workspace.apply().resources) == [
        ("delete", "google_storage_bucket"),
        ("update", "google_service_account"),
    ]


def test_an_empty_project_refuses_a_call_to_an_api_that_is_off(workspaces: Workspaces) -> None:
    workspace = workspaces({"main.tf": HEAD + ACCOUNT}, rules=EMPTY_PROJECT)
    with pytest.raises(Refused, match=r"iam\.googleapis\.com has not been used in this project before or it is disabled"):
        workspace.apply()
    assert workspace.cloud.resources == []
    workspace.write({"main.tf": HEAD + IAM + ACCOUNT.replace("}", "depends_on = [google_project_service.iam]\n}")})
    assert [one.type for one in workspace.apply().resources] == ["google_project_service", "google_service_account"]


def test_an_empty_project_refuses_an_account_that_does_not_exist(workspaces: Workspaces) -> None:
    text = """
    resource "google_project_iam_member" "caller" {
      project    = "demo"
      role       = "roles/viewer"
      member     = "serviceAccount:caller@demo.iam.gserviceaccount.com"
    }
    """
    workspace = workspaces({"main.tf": HEAD + text}, rules=EMPTY_PROJECT)
    with pytest.raises(Refused, match=r"service account caller@demo\.iam\.gserviceaccount\.com does not exist"):
        workspace.apply()
    account = IAM + ACCOUNT.replace("}", "depends_on = [google_project_service.iam]\n}")
    member = text.replace('"serviceAccount:caller@demo.iam.gserviceaccount.com"', "google_service_account.caller.member")
    workspace.write({"main.tf": HEAD + account + member})
    assert workspace.apply().of("google_project_iam_member")


def test_the_extractor_sees_what_is_used_and_of_which_provider(tmp_path: Path) -> None:
    text = 'resource "google_a" "x" {\n  b {\n  }\n}\nresource "google_c" "x" {\n  provider = google-beta\n}\ndata "google_a" "y" {\n}\n'
    (tmp_path / "main.tf").write_text(text)
    assert used(tmp_path) == {
        Use("hashicorp/google", "resource", "google_a"),
        Use("hashicorp/google", "data", "google_a"),
        Use("hashicorp/google-beta", "resource", "google_c"),
    }


MODULE = """
export interface ThingConfig extends cdktf.TerraformMetaArguments {
  /**
  * How. Possible values: ["A", "B"]
  *
  * Docs at Terraform Registry: {@link x#mode Thing#mode}
  */
  readonly mode?: string;
}
export function thingRuleToHclTerraform(struct?: ThingRule): any {
  const attrs = {
    age: {
      value: cdktf.numberToHclTerraform(struct!.age),
      isBlock: false,
      type: "simple",
      storageClassType: "number",
    },
  }
}
export class ThingRuleOutputReference extends cdktf.ComplexObject {
  // age - computed: true, optional: true, required: false
  public get age() {
    return this.getNumberAttribute('age');
  }
}
export class Thing extends cdktf.TerraformResource {
  // key_wo - computed: false, optional: true, required: false
  public get keyWo() {
    return this.getStringAttribute('key_wo');
  }
  // mode - computed: false, optional: true, required: false
  public get mode() {
    return this.getStringAttribute('mode');
  }
  // ips - computed: true, optional: false, required: false
  public get ips() {
    return cdktf.Fn.tolist(this.getListAttribute('ips'));
  }
  // many - computed: false, optional: true, required: false
  private _many = new ThingRuleList(this, "many", false);
  // one - computed: false, optional: false, required: true
  private _one = new ThingRuleOutputReference(this, "one");
  // seen - computed: true, optional: false, required: false
  private _seen = new ThingRuleList(this, "seen", false);
  // =====
  protected synthesizeHclAttributes(): { [name: string]: any } {
    const attrs = {
      key_wo: {
        value: cdktf.stringToHclTerraform(this._keyWo),
        isBlock: false,
        type: "simple",
        storageClassType: "string",
      },
      mode: {
        value: cdktf.listMapper(cdktf.stringToHclTerraform, false)(this._mode),
        isBlock: false,
        type: "set",
        storageClassType: "stringList",
      },
      many: {
        value: cdktf.listMapperHcl(thingRuleToHclTerraform, true)(this._many.internalValue),
        isBlock: true,
        type: "list",
        storageClassType: "ThingRuleList",
      },
      one: {
        value: thingRuleToHclTerraform(this._one.internalValue),
        isBlock: true,
        type: "list",
        storageClassType: "ThingRuleList",
      },
    };
  }
}
"""


def test_the_extractor_reads_a_package() -> None:
    rule = {"attributes": {"age": {"type": "number", "computed": True, "optional": True}}}
    assert Module(MODULE).schema() == {
        "block": {
            "attributes": {
                "ips": {"type": ["set", "string"], "computed": True},
                "key_wo": {"type": "string", "optional": True, "write_only": True},
                "mode": {"type": ["set", "string"], "optional": True, "enum": ["A", "B"]},
                "seen": {"type": ["list", ["object", {"age": "number"}]], "computed": True},
            },
            "block_types": {
                "many": {"nesting_mode": "list", "block": rule},
                "one": {"nesting_mode": "list", "max_items": 1, "min_items": 1, "block": rule},
            },
        }
    }


def test_the_schema_is_written_one_line_per_part() -> None:
    part = {"type": "string", "required": True}
    long = {f"attribute_{number}": part for number in range(4)}
    assert dumped(long).splitlines()[1] == ' "attribute_0": {"required": true, "type": "string"},'
