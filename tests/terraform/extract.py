"""Writes schema.json: what the Google providers accept, for the types that terraform/ uses, so that the provider double needs neither
the provider's binary nor a network. Run it when terraform/ uses a new type or the provider's version moves:

    .venv/bin/python -m tests.terraform.extract [FOLDER OF WHEELS]

The source is cdktf's Python packages. They are generated from the providers' own schemas and carry that TypeScript in their source
maps: every attribute's type and whether it is required, optional or computed. The output has the shape of
`terraform providers schema -json`, plus `enum` where the description lists the possible values. What the packages do not say stands
in extra.json, each entry with its reason.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
TERRAFORM = HERE.parents[1] / "terraform"
VERSION = "16.12.1"  # of the cdktf packages: the providers' 6.50.0
_PACKAGES = {"hashicorp/google": "google", "hashicorp/google-beta": "google-beta"}
_KINDS = {"resource": "resource_schemas", "data": "data_source_schemas", "ephemeral": "ephemeral_resource_schemas"}
_SIMPLE = {"string": "string", "number": "number", "boolean": "bool"}
_GETTERS = {
    "getStringAttribute": "string",
    "getNumberAttribute": "number",
    "getBooleanAttribute": "bool",
    "getListAttribute": ["list", "string"],
    "getNumberListAttribute": ["list", "number"],
    "StringMap": ["map", "string"],
    "BooleanMap": ["map", "bool"],
    "NumberMap": ["map", "number"],
    "StringMapList": ["list", ["map", "string"]],
}


class Use(NamedTuple):
    """A type that the configuration uses, and of which provider."""

    source: str
    kind: str
    type: str


def used(folder: Path) -> frozenset[Use]:
    """What the blocks in `folder`/*.tf use. Expects the layout of `terraform fmt`: a block ends with the next `}` in column one."""
    text = "\n".join(file.read_text() for file in sorted(folder.glob("*.tf")))
    blocks = re.findall(r'^(resource|data|ephemeral) "(\w+)".*?\{(.*?)^}', text, re.M | re.S)
    beta = re.compile(r"^\s*provider\s*=\s*google-beta", re.M)
    return frozenset(
        Use("hashicorp/google-beta" if beta.search(body) else f"hashicorp/{name.partition('_')[0]}", kind, name)
        for kind, name, body in blocks
    )


class Module:
    """One TypeScript module of a cdktf package: a resource, a data source or the provider."""

    def __init__(self, source: str) -> None:
        parts = re.split(r"^export (class|function|interface) (\w+)", source, flags=re.M)
        found: dict[str, dict[str, str]] = {"class": {}, "function": {}, "interface": {}}
        for kind, name, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
            found[kind][name] = body
        self._classes, self._functions, self._interfaces = found["class"], found["function"], found["interface"]
        self._main = next(name for name, body in self._classes.items() if re.match(r" extends cdktf\.Terraform", body))

    def schema(self) -> Mapping[str, Any]:
        config = f"{self._main}Config"
        return {"block": self._block(self._classes[self._main], self._classes[self._main], self._interfaces.get(config, ""))}

    def _struct(self, name: str) -> Mapping[str, Any]:
        function = f"{name[0].lower()}{name[1:]}ToHclTerraform"
        of_items = self._classes.get(f"{name}OutputReference", "")
        return self._block(of_items, self._functions[function], self._interfaces.get(name, ""))

    def _block(self, flags: str, hcl: str, documented: str) -> Mapping[str, Any]:
        attributes: dict[str, Any] = {}
        blocks: dict[str, Any] = {}
        settable = {
            name: (value, kind == "true", collection, of)
            for name, value, kind, collection, of in re.findall(
                r'(\w+): \{\s+value: ([^\n]*),\s+isBlock: (\w+),\s+type: "(\w+)",\s+storageClassType: "(\w+)"', hcl
            )
        }
        enums = dict(self._enums(documented))
        marked = dict(self._marked(flags)) or {
            name: ({"optional": True}, "") for name in settable
        }  # the provider has none inside
        for name, (mark, getter) in sorted(marked.items()):
            value, is_block, collection, of = settable.get(name, ("", False, "", ""))
            if is_block:
                inner = self._struct(of if collection == "struct" else of.removesuffix("List"))
                limits = {} if "listMapperHcl" in value else {"max_items": 1}
                if mark.get("required"):
                    limits["min_items"] = 1
                nesting = {"nesting_mode": "single"} if collection == "struct" else {"nesting_mode": collection, **limits}
                blocks[name] = {**nesting, "block": inner}
            else:
                kind = self._settable_type(collection, of) if of else self._computed_type(getter)
                attributes[name] = {"type": kind, **mark, **({"enum": enums[name]} if name in enums else {})}
                if name.endswith("_wo"):
                    attributes[name]["write_only"] = True
        return {"attributes": attributes, **({"block_types": blocks} if blocks else {})}

    @staticmethod
    def _marked(body: str) -> Iterator[tuple[str, tuple[dict[str, bool], str]]]:
        pattern = r"^  // (\w+) - computed: (\w+), optional: (\w+), required: (\w+)\n(.*?)(?=^  // \w+ - computed|^  // ====|\Z)"
        for name, computed, optional, required, getter in re.findall(pattern, body, re.M | re.S):
            marks = {"computed": computed, "optional": optional, "required": required}
            yield name, ({key: True for key, mark in marks.items() if mark == "true"}, getter)

    @staticmethod
    def _enums(interface: str) -> Iterator[tuple[str, list[str]]]:
        for comment in re.findall(r"/\*\*(.*?)\*/", interface, re.S):
            values = re.search(r"Possible values: (\[.*?\])", comment)
            name = re.search(r"#(\w+) \w+#\w+\}", comment)
            if values and name:
                yield name[1], json.loads(values[1])

    def _settable_type(self, collection: str, of: str) -> Any:
        if of in _SIMPLE:
            return _SIMPLE[of]
        kind = "map" if of.endswith("Map") else collection
        item = of.removesuffix("List").removesuffix("Map")
        return [kind, _SIMPLE[item] if item in _SIMPLE else self._object(item)]

    def _computed_type(self, getter: str) -> Any:
        """From what the getter returns, since a purely computed attribute is never written."""
        if found := re.search(r"this\.(get\w+Attribute)\(|new cdktf\.(\w+)\(", getter):
            kind = _GETTERS[found[1] or found[2]]
            return ["set", kind[1]] if "cdktf.Fn.tolist" in getter else kind
        found = re.search(r"new (\w+?)List\(this, \"\w+\", (\w+)\)", getter)
        if found is None:
            raise ValueError(f"An attribute's getter is of a kind that this extractor does not know:\n{getter}")
        return ["set" if found[2] == "true" else "list", self._object(found[1])]

    def _object(self, struct: str) -> Any:
        block = self._struct(struct)
        return ["object", {name: attribute["type"] for name, attribute in block["attributes"].items()}]


def modules(wheels: Path, package: str, names: Mapping[str, Any]) -> Iterator[tuple[str, Module]]:
    """The modules of `names` (folders in the package) that exist."""
    file = next(wheels.glob(f"cdktf_cdktf_provider_{package.replace('-', '_')}-{VERSION}-*.whl"))
    with zipfile.ZipFile(file) as wheel:
        inner = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(wheel.read(inner))) as tar:
            for member in tar:
                parts = Path(member.name).parts
                if parts[-1] == "index.js" and parts[-2] in names:
                    content = tar.extractfile(member)
                    assert content is not None
                    _, _, source_map = content.read().decode().rpartition("base64,")
                    yield parts[-2], Module(json.loads(base64.b64decode(source_map))["sourcesContent"][0])


def extract(uses: Collection[Use], wheels: Path) -> dict[str, Any]:
    """The schemas by provider. What the packages lack is left out."""
    schemas: dict[str, Any] = {}
    for source, package in _PACKAGES.items():
        names: dict[str, Use | None] = {"provider": None}
        for use in uses:
            if use.source == source:
                folder = use.type.removeprefix("google_").replace("_", "-")
                prefix = "data-google-" if use.kind == "data" else "google-" if package == "google-beta" else ""
                names[prefix + folder] = use
        found: dict[str, Any] = {kind: {} for kind in _KINDS.values()}
        for name, module in modules(wheels, package, names):
            if use_ := names[name]:
                found[_KINDS[use_.kind]][use_.type] = module.schema()
            else:
                block = module.schema()["block"]
                attributes = {key: value for key, value in block["attributes"].items() if not key.endswith("_custom_endpoint")}
                attributes.pop("alias")  # Terraform's own
                found["provider"] = {"block": {**block, "attributes": attributes}}
        schemas[source] = found
    return schemas


def dumped(value: Any, indent: str = "") -> str:
    """JSON with sorted keys, a line for each part that fits one, so that a change of version reads well as a diff."""
    line = json.dumps(value, sort_keys=True)
    if not isinstance(value, dict) or len(indent) + len(line) <= 130:
        return line
    deeper = indent + " "
    lines = [f"{deeper}{json.dumps(key)}: {dumped(inner, deeper)}" for key, inner in sorted(value.items())]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def lacking(uses: Collection[Use], *schemas: Mapping[str, Any]) -> list[Use]:
    return sorted(
        use for use in uses if not any(use.type in schema.get(use.source, {}).get(_KINDS[use.kind], {}) for schema in schemas)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes tests/terraform/schema.json from cdktf's packages.")
    parser.add_argument("wheels", type=Path, nargs="?", help="a folder with the wheels; they are downloaded when it is left out")
    given: Path | None = parser.parse_args().wheels
    uses = used(TERRAFORM)
    with tempfile.TemporaryDirectory() as scratch:
        if given is None:
            names = [f"cdktf-cdktf-provider-{package}=={VERSION}" for package in _PACKAGES.values()]
            subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "--dest", scratch, *names], check=True)
        schemas = extract(uses, given or Path(scratch))
    if missed := lacking(uses, schemas, json.loads((HERE / "extra.json").read_text())):
        sys.exit(f"Neither the packages nor extra.json have: {', '.join(f'{use.source} {use.type}' for use in missed)}.")
    (HERE / "schema.json").write_text(dumped(schemas) + "\n")


if __name__ == "__main__":
    main()
