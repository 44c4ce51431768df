"""A tenant: whose mail this is, and where its Sheet and folder are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.errors import NotFound
from shared.mail.source import Identity
from shared.model.paths import Paths
from shared.ports import Store


@dataclass(frozen=True, slots=True)
class Tenant:
    name: str
    identity: Identity
    sheet: str  # spreadsheet id
    folder: str  # Drive folder id
    policy: Mapping[str, Any] = field(default_factory=dict)  # of contact, as in a campaign's document, {} for none

    @classmethod
    async def load(cls, store: Store, paths: Paths) -> Tenant:
        """One read; raises NotFound when nobody has set the tenant up."""
        found = await store.get(paths.tenant)
        if found is None:
            raise NotFound(f"tenant {paths.tenant_id}")
        data = found.data
        return cls(data["name"], Identity(**data["identity"]), data["sheet"], data["folder"], data.get("policy") or {})


def document(name: str, identity: Identity, sheet: str, folder: str) -> dict[str, Any]:
    """The tenant's document."""
    from dataclasses import asdict

    return {"name": name, "identity": asdict(identity), "sheet": sheet, "folder": folder}
