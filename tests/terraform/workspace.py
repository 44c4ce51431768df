"""Runs the real terraform on a folder of .tf files against the provider double: no network, no installation, no credentials.

Terraform itself is the judge of types, references, for_each, validations and cycles; a test then reads the plan or the apply."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.terraform.protocol import serve
from tests.terraform.provider import Cloud, Provider, Resource, Rule, schemas

ROOT = Path(__file__).parents[2]
_schemas = cache(schemas)


class Unknown:
    """The one value UNKNOWN: what terraform can know only after an apply."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


class Refused(Exception):
    """Terraform's errors, one sentence each."""

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = tuple(sentences)


@dataclass(frozen=True)
class Instance:
    """A resource or data source as planned. `references`: argument (dotted path) -> what its expression refers to; also `depends_on`."""

    mode: str  # managed or data
    type: str
    name: str
    key: str | int | None
    address: str
    values: Mapping[str, Any]
    actions: tuple[str, ...]
    references: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Plan:
    instances: Sequence[Instance]
    outputs: Mapping[str, Any]
    json: Mapping[str, Any] = field(repr=False)  # `terraform show -json`

    def of(self, kind: str) -> list[Instance]:
        return [one for one in self.instances if one.type == kind]

    @property
    def changes(self) -> list[str]:
        """Addresses that an apply would touch."""
        return [
            change["address"]
            for change in self.json.get("resource_changes", [])
            if change["mode"] == "managed" and change["change"]["actions"] != ["no-op"]
        ]


@dataclass(frozen=True)
class Applied:
    """What one apply made, in order."""

    resources: Sequence[Resource]

    def of(self, kind: str) -> list[Resource]:
        return [one for one in self.resources if one.type == kind]


def missing() -> str:
    """One sentence naming what has to be installed, or ""."""
    return "" if shutil.which("terraform") else "terraform is missing: see https://developer.hashicorp.com/terraform/install."


def sources() -> dict[str, str]:
    """terraform/*.tf: name -> text. Change one and give them to a Workspace for a mutant."""
    return {file.name: file.read_text() for file in sorted((ROOT / "terraform").glob("*.tf"))}


class Workspace:
    """A copy of terraform/, or of `files` with what they read, in `folder`/terraform, beside a fake build/<step>.zip per step.

    `known`: computed values that the double can predict are planned as known; without, as UNKNOWN, as the real provider does for most.
    `rules` are asked at each apply. Each Workspace has servers of its own, so several may run at once. Close it after use."""

    def __init__(
        self, folder: Path, files: Mapping[str, str] | None = None, *, known: bool = True, rules: Sequence[Rule] = ()
    ) -> None:
        self.cloud = Cloud(known, rules)
        self.folder = folder / "terraform"
        self.folder.mkdir(parents=True)
        self.write(sources() if files is None else files)
        for read in (ROOT / "terraform").glob("*.json"):
            shutil.copy(read, self.folder)
        (self.folder / "backend_override.tf").write_text('terraform {\n  backend "local" {}\n}\n')
        (folder / "build").mkdir()
        for main in (ROOT / "functions").glob("*/main.py"):
            (folder / "build" / f"{main.parent.name}.zip").write_bytes(main.parent.name.encode())
        self._servers = []
        attached = {}
        for source, schema in _schemas().items():
            server, port = serve(Provider(schema, self.cloud).handlers())
            self._servers.append(server)
            address = {"Network": "tcp", "String": f"127.0.0.1:{port}"}
            attached[source] = {"Protocol": "grpc", "ProtocolVersion": 5, "Pid": os.getpid(), "Test": True, "Addr": address}
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TF_")},
            "CHECKPOINT_DISABLE": "1",
            "GOGC": "off",  # a run is too short for garbage collection to pay
            "TF_CLI_CONFIG_FILE": os.devnull,
            "TF_REATTACH_PROVIDERS": json.dumps(attached),
        }
        self._ready = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        for server in self._servers:
            server.stop(None)

    def write(self, files: Mapping[str, str]) -> None:
        """Replaces files: a further mutant in the same workspace saves the start of its servers and the init."""
        for name, text in files.items():
            (self.folder / name).write_text(text)

    def validate(self) -> None:
        """Raises Refused."""
        self._run("validate")

    def plan(self, **variables: Any) -> Plan:
        """Raises Refused."""
        self._run("plan", "-refresh=false", "-lock=false", "-input=false", "-out=plan", *_given(variables))
        shown = json.loads(self._terraform("show", "-json", "plan").stdout)
        outputs = shown["planned_values"].get("outputs", {})
        return Plan(list(_instances(shown)), {name: output.get("value", UNKNOWN) for name, output in outputs.items()}, shown)

    def apply(self, **variables: Any) -> Applied:
        """Raises Refused; `cloud.resources` holds what was made before that, by this and by earlier applies."""
        before = len(self.cloud.resources)
        self._run("apply", "-refresh=false", "-lock=false", "-input=false", "-auto-approve", *_given(variables))
        return Applied(tuple(self.cloud.resources[before:]))

    def _run(self, command: str, *arguments: str) -> None:
        if not self._ready:
            done = self._terraform("init", "-input=false", "-no-color")
            if done.returncode:
                raise Refused([done.stderr.strip()])
            self._ready = True
        done = self._terraform(command, "-json", *arguments)
        if done.returncode:
            raise Refused(list(_sentences(done.stdout)) or [done.stderr.strip()])

    def _terraform(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["terraform", *arguments], cwd=self.folder, env=self._env, capture_output=True, text=True)


def _given(variables: Mapping[str, Any]) -> list[str]:
    return [f"-var={name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in variables.items()]


def _sentences(output: str) -> Iterator[str]:
    """`validate` writes one document, the others a line for each event."""
    events = [json.loads(line) for line in output.splitlines()] if output.startswith('{"') else [json.loads(output or "{}")]
    for event in events:
        for found in event.get("diagnostics", [event["diagnostic"]] if "diagnostic" in event else []):
            if found["severity"] == "error":
                place = found.get("address") or found.get("range", {}).get("filename", "terraform")
                yield " ".join(f"{place}: {found['summary']}. {found['detail']}".split())


def _instances(shown: Mapping[str, Any]) -> Iterator[Instance]:
    configured = {one["address"]: one for one in shown["configuration"]["root_module"].get("resources", [])}
    read = shown.get("prior_state", {}).get("values", {}).get("root_module", {}).get("resources", [])
    data = [{**one, "change": {"after": one["values"], "actions": ["read"]}} for one in read if one["mode"] == "data"]
    for one in data + shown.get("resource_changes", []):
        change = one["change"]
        if change["after"] is None:
            continue
        address = f"{'data.' if one['mode'] == 'data' else ''}{one['type']}.{one['name']}"
        declared = configured.get(address, {})
        references = dict(_references(declared.get("expressions", {}), ""))
        yield Instance(
            one["mode"],
            one["type"],
            one["name"],
            one.get("index"),
            one["address"],
            _with_unknown(change["after"], change.get("after_unknown", {})),
            tuple(change["actions"]),
            {**references, "depends_on": declared.get("depends_on", [])},
        )


def _references(expressions: Any, path: str) -> Iterator[tuple[str, Sequence[str]]]:
    for name, given in expressions.items():
        for one in given if isinstance(given, list) else [given]:
            if "references" in one:
                yield path + name, one["references"]
            elif "constant_value" not in one:
                yield from _references(one, f"{path}{name}.")


def _with_unknown(after: Any, unknown: Any) -> Any:
    if unknown is True:
        return UNKNOWN
    if isinstance(unknown, dict):
        return {name: _with_unknown((after or {}).get(name), unknown.get(name)) for name in {**(after or {}), **unknown}}
    if isinstance(unknown, list) and isinstance(after, list):
        return [_with_unknown(one, unknown[at] if at < len(unknown) else False) for at, one in enumerate(after)]
    return after
