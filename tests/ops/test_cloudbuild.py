"""cloudbuild.yaml agrees with the rest of the repository, as far as that can be told without Cloud Build."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from local.steps import STEPS
from ops import rehearse, release
from ops.__main__ import app

REPO = Path(__file__).parents[2]
TEXT = (REPO / "cloudbuild.yaml").read_text()
ORDER = ["lint", "audit", "test", "stage", "plan-first", "changed", "plan", "pin", "apply", "shift"]
BUILT_IN = {"PROJECT_ID", "BUILD_ID", "LOCATION", "COMMIT_SHA"}
TERRAFORM = "\n".join(path.read_text() for path in sorted((REPO / "terraform").glob("*.tf")))
BUILD = yaml.safe_load(TEXT)
STEP: dict[str, dict[str, str]] = {step["id"]: step for step in BUILD["steps"]}
SCRIPTS = rehearse.scripts(TEXT)


def commands(script: str) -> list[list[str]]:
    """The words of each line of a script that runs something; `$(cat x)` is one word."""
    plain = re.sub(r"\$\(cat (\S+)\)", r"@\1", script)
    found = [shlex.split(line, comments=True) for line in plain.splitlines()]
    return [words[words[0] == "exec" :] for words in found if words and words[0] != "set"]


def written(id: str, words: list[str]) -> set[str]:
    """The files that a command leaves in build/ (and elsewhere, for the next steps)."""
    found = {after for word, after in pairwise(words) if word == ">"}
    found |= {word.removeprefix("-out=../") for word in words if word.startswith("-out=")}
    if words[:2] == ["make", "stage"]:
        found |= {f"build/{step}.zip" for step in STEPS}
    if words[-2:-1] == ["--file"] and "pin" in words:
        found.add(words[-1])
    return found


def needed(words: list[str]) -> set[str]:
    """The files of an earlier step that a command reads."""
    made = {after for word, after in pairwise(words) if word == ">"}
    read = {m[1] for word in words for m in re.finditer(r"(?:^|[=@/.])(build/[\w.-]+)", word)}
    writes = {word.removeprefix("-out=../") for word in words if word.startswith("-out=")}
    if "terraform" in words[0] and ("plan" in words or "apply" in words):
        read |= {f"build/{step}.zip" for step in STEPS}
    if "pin" in words:
        read.discard("build/release.json")
    return read - made - writes


def test_the_steps_are_in_this_order_one_after_the_other() -> None:
    assert [step["id"] for step in BUILD["steps"]] == ORDER
    assert all(set(step) == {"id", "name", "script"} for step in BUILD["steps"])  # no waitFor, no allowFailure
    assert "allowFailure" not in TEXT and "allowExitCodes" not in TEXT


def test_images_are_pinned_and_have_what_is_called() -> None:
    tools = {"python": {"make", ".venv/bin/python", "cat", "."}, "hashicorp/terraform": {"terraform", "printf"}}
    for step in BUILD["steps"]:
        assert re.fullmatch(r"(python:3\.12\.\d+-bookworm|hashicorp/terraform:1\.\d+\.\d+)", step["name"])
        used = {words[0] for words in commands(step["script"])}
        assert used <= tools[step["name"].partition(":")[0]], f"{step['id']}: the image has no {used}"


@pytest.mark.parametrize("id", ORDER)
def test_a_script_is_one_for_the_shell_that_is_there(id: str) -> None:
    script = SCRIPTS[id]
    assert script.startswith("#!/bin/sh\nset -eu\n"), "the Terraform image has no bash"
    for shell in ("bash", "sh"):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)
    assert not re.search(r"\|\||; *true|set \+e|(?<!\|)\|(?!\|)|&\s*$", script, re.MULTILINE), "a fault would be lost"


@pytest.mark.parametrize("id", ORDER)
def test_whatever_fails_in_a_step_fails_the_build(id: str, tmp_path: Path) -> None:
    """With stand-ins for the programs, of which the n-th call fails: above all a smoke check in `shift`."""
    calls = [words for words in commands(SCRIPTS[id]) if words[0] in ("make", "terraform", ".venv/bin/python")]
    assert calls
    for folder in (".venv/bin", "bin", "build", "terraform"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("build/settings.sh", "build/hold.json"):
        (tmp_path / file).touch()
    for program in ("bin/make", "bin/terraform", ".venv/bin/python"):
        (tmp_path / program).write_text('#!/bin/sh\necho "$0" >> calls\n[ "$(wc -l < calls)" -ne "$FAILING" ]\n')
        (tmp_path / program).chmod(0o755)
    environ = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "_STATE_BUCKET": "b", "_VARIABLES": "{}", "BUILD_ID": "1"}
    for failing in range(len(calls) + 1):
        (tmp_path / "calls").write_text("")
        done = subprocess.run(
            ["sh"], input=SCRIPTS[id], text=True, cwd=tmp_path, env={**environ, "FAILING": str(failing)}, check=False
        )
        assert (done.returncode != 0) == bool(failing), f"call {failing} failed, and {id} ended with {done.returncode}"
        assert len((tmp_path / "calls").read_text().splitlines()) == (failing or len(calls))


@pytest.mark.parametrize("id", ["pin", "apply", "shift"])
def test_a_stop_signal_reaches_what_changes_something(id: str) -> None:
    """A shell that is process 1 keeps it to itself."""
    assert SCRIPTS[id].splitlines()[-1].startswith("exec ")


def test_every_file_a_step_reads_was_written_before() -> None:
    there: set[str] = set()
    for id in ORDER:
        for words in commands(SCRIPTS[id]):
            assert needed(words) <= there, f"{id}: {' '.join(words)} reads {sorted(needed(words) - there)}"
            there |= written(id, words)
    assert {"build/hold.json", "build/settings.sh", "build/release.json", "build/record.zip"} <= there


def test_the_release_is_between_the_plan_and_its_end() -> None:
    assert 'plan -input=false -var "hold=$(cat build/hold.json)" -out=../build/release.plan' in SCRIPTS["plan"]
    assert "apply -input=false ../build/release.plan" in SCRIPTS["apply"]
    assert '--steps "$(cat build/hold.json)"' in SCRIPTS["pin"]
    assert commands(SCRIPTS["shift"])[-1][1:5] == ["-m", "ops", "release", "shift"]


def test_what_is_substituted_is_declared_and_the_other_way_round() -> None:
    scripts = "".join(SCRIPTS.values())
    outside = TEXT
    for script in SCRIPTS.values():
        outside = outside.replace("\n".join(f"      {line}" if line else "" for line in script.splitlines()), "")
    assert "set -eu" not in outside
    used = set(re.findall(r"\$\{?([A-Z_]+)\}?", re.sub(r"^\s*#.*", "", outside, flags=re.MULTILINE)))
    assert used <= BUILT_IN
    assert all(name.startswith("_") for name in BUILD["substitutions"])
    # Nothing is substituted in a script: it reads the environment, which a shell cannot take for code.
    assert BUILD["options"]["automapSubstitutions"] is True and not any("$" in line for line in BUILD["options"]["env"])
    read = set(re.findall(r"\$\{?([A-Z_]+)\}?", scripts))
    assert read - BUILT_IN == set(BUILD["substitutions"])
    assert BUILD["options"]["substitutionOption"] == "ALLOW_LOOSE", "what only a script reads counts as unused"
    trigger = re.search(r'resource "google_cloudbuild_trigger".*?substitutions = \{(.*?)\n  \}', TERRAFORM, re.DOTALL)
    assert trigger and set(re.findall(r"^\s+(_\w+)\s+=", trigger[1], re.MULTILINE)) <= set(BUILD["substitutions"])


def test_every_make_target_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPO / "Makefile").read_text(), re.MULTILINE))
    asked = {words[1] for script in SCRIPTS.values() for words in commands(script) if words[0] == "make"}
    assert asked == {"lint", "audit", "test", "stage"} and asked <= targets


def test_the_audit_looks_at_what_is_deployed_with_a_tool_that_is_locked_itself() -> None:
    """It asks the internet, so it does not run here."""
    recipe = re.search(r"^audit:.*\n((?:\t.*\n)+)", (REPO / "Makefile").read_text(), re.MULTILINE)
    assert recipe
    made, installed, audited = (shlex.split(line) for line in recipe[1].replace("\t@", "").splitlines())
    assert made[-2:] == ["venv", "$(VENV)/audit"], "not among the product's own packages"
    assert {"--require-hashes", "ops/audit.txt"} <= set(installed)
    assert audited[0] == "$(VENV)/audit/bin/pip-audit" and audited[-2:] == ["-r", "requirements.txt"]
    assert {"--strict", "--require-hashes", "--disable-pip"} <= set(audited)
    assert re.search(r"^pip-audit==\S+ \\\n +--hash=sha256:", (REPO / "ops/audit.txt").read_text(), re.MULTILINE)


def test_every_command_of_ours_is_understood() -> None:
    asked = [words for script in SCRIPTS.values() for words in commands(script) if words[1:3] == ["-m", "ops"]]
    assert [words[4] for words in asked] == ["changed", "settings", "pin", "shift"]
    for words in asked:
        assert words[0] == ".venv/bin/python"
        understood([word for word in words[3:] if word != ">"][: len(words) - 3 - (2 if ">" in words else 0)])
    with pytest.raises(Exception, match="No such option"):
        understood(["release", "shift", "--speed", "1"])


@pytest.mark.parametrize("words", [["smoke"], ["release", "shift"]])
def test_how_long_a_mail_may_take_and_where_it_is_may_be_in_the_environment(words: list[str]) -> None:
    assert understood(words, SMOKE_PATIENCE="7")["patience"] == 7
    assert understood([*words, "--patience", "8"], SMOKE_PATIENCE="7")["patience"] == 8
    assert understood(words, SMOKE_PATIENCE="")["patience"] == 180
    assert understood(words)["regions"] == "r"


def understood(words: list[str], **more: str) -> dict[str, Any]:
    """Parse as the real command line does, and what it found; raises a UsageError of Typer's own click."""
    command: Any = typer.main.get_command(app)
    environ = {"GOOGLE_CLOUD_PROJECT": "p", "REGIONS": "r", **more}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        context = command.context_class(command)
        while hasattr(command, "commands"):
            name, command, words = command.resolve_command(context, words)
            context = command.context_class(command, parent=context)
        command.parse_args(context, words)
    return dict(context.params)


def test_terraform_knows_every_variable_that_it_is_given_and_every_value_that_is_asked_of_it() -> None:
    variables = set(re.findall(r'^variable "(\w+)"', TERRAFORM, re.MULTILINE))
    outputs = set(re.findall(r'^output "(\w+)"', TERRAFORM, re.MULTILINE))
    given = set(re.findall(r"-var \"?(\w+)=", "".join(SCRIPTS.values())))
    given |= {line.partition("=")[0].removeprefix("TF_VAR_") for line in BUILD["options"]["env"] if line.startswith("TF_VAR_")}
    assert given == {"hold"} and given <= variables
    source = Path(release.__file__).read_text()
    asked = {"firestore_database", "paused", "project", "regions", "tenant", "smoke_address"}
    assert set(re.findall(r'given(?:\[|\.get\()"(\w+)"', source)) == asked <= variables
    assert set(re.findall(r'known\["(\w+)"', source)) == {"public_url", "endpoints"} <= outputs
    assert 'backend "gcs"' in TERRAFORM and '-backend-config="bucket=$_STATE_BUCKET"' in SCRIPTS["plan-first"]
    assert 'resource "google_cloudfunctions2_function" "step"' in TERRAFORM


def test_the_build_runs_as_the_deployer_and_has_time() -> None:
    assert BUILD["serviceAccount"] == "projects/$PROJECT_ID/serviceAccounts/deployer@$PROJECT_ID.iam.gserviceaccount.com"
    assert re.search(r'"google_service_account" "deployer" \{[^}]*account_id\s+= "deployer"', TERRAFORM)
    assert BUILD["options"]["logging"] == "CLOUD_LOGGING_ONLY"
    assert 3600 <= int(BUILD["timeout"].removesuffix("s")) <= 86_400


def test_a_rehearsal_runs_the_steps_that_need_no_account_and_stops_at_the_first_that_fails(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert set(rehearse.ALONE) <= SCRIPTS.keys()
    step = "  - id: {}\n    script: |\n      #!/bin/sh\n      set -eu\n      {}\n"
    parts = [step.format("lint", "echo linted > out"), step.format("test", "false"), step.format("stage", "echo staged > out")]
    (tmp_path / "cloudbuild.yaml").write_text("steps:\n" + "".join(parts))
    assert rehearse.rehearse(rehearse.ALONE, tmp_path) == 1
    assert (tmp_path / "out").read_text() == "linted\n"
    assert capfd.readouterr().out.splitlines() == ["--- lint", "--- test", "test failed (exit 1); Cloud Build would end here."]
    assert rehearse.rehearse(["lint", "stage"], tmp_path) == 0
    assert (tmp_path / "out").read_text() == "staged\n"
