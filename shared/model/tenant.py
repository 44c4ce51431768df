"""A tenant: whose mail this is, and where its Sheet and folder are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.errors import NotFound
from shared.mail.source import Identity
from shared.model.face import Face
from shared.model.paths import Paths
from shared.ports import Store


@dataclass(frozen=True, slots=True)
class Approval:
    """Who lets campaigns go. `hold`: minutes from an approval to the start at least. `admins` may change who approves; `services` are the
    accounts of ours that work on the Sheet. Addresses are in small letters. `tabs`: the ids of Campaigns and Team, which no renaming
    changes; () before they were protected, and then nobody is believed."""

    hold: int
    admins: frozenset[str]
    services: frozenset[str]
    tabs: tuple[int, ...] = ()

    @classmethod
    def of(cls, found: Mapping[str, Any] | None) -> Approval | None:
        """What a tenant's document says: {required, hold, admins, services, tabs}. Only its absence, or a plain false, asks for none."""
        if found is None or found.get("required") is False:
            return None
        admins, services = (
            frozenset(str(one).strip().lower() for one in found.get(name) or ()) for name in ("admins", "services")
        )
        return cls(int(found.get("hold") or 0), admins, services, tuple(found.get("tabs") or ()))

    def document(self) -> dict[str, Any]:
        """For the tenant's document."""
        people = {"admins": sorted(self.admins), "services": sorted(self.services)}
        return {"required": True, "hold": self.hold, **people, "tabs": list(self.tabs)}


@dataclass(frozen=True, slots=True)
class Tenant:
    name: str
    identity: Identity
    sheet: str  # spreadsheet id
    folder: str  # Drive folder id
    policy: Mapping[str, Any] = field(default_factory=dict)  # of contact, as in a campaign's document, {} for none
    approval: Approval | None = None  # that campaigns need; None for none
    face: Face = field(default_factory=Face)

    @classmethod
    async def load(cls, store: Store, paths: Paths) -> Tenant:
        """One read; raises NotFound when nobody has set the tenant up."""
        found = await store.get(paths.tenant)
        if found is None:
            raise NotFound(f"tenant {paths.tenant_id}")
        return cls.of(found.data)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Tenant:
        """What a tenant's document says."""
        return cls(
            data["name"],
            Identity(**data["identity"]),
            data["sheet"],
            data["folder"],
            data.get("policy") or {},
            Approval.of(data.get("approval")),
            Face.of(data.get("face")),
        )


def document(name: str, identity: Identity, sheet: str, folder: str, approval: Approval | None = None) -> dict[str, Any]:
    """The tenant's document."""
    from dataclasses import asdict

    found = {"name": name, "identity": asdict(identity), "sheet": sheet, "folder": folder}
    return found | ({"approval": approval.document()} if approval else {})
