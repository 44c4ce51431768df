"""One provider as the tick sees it: its configuration, its document brought up to this moment, and what was leased since."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, Final

from shared.model.provider import GROUPS, Provider
from shared.ports import Create, Data, Document, Merge, Write

from . import warmup

MINUTE: Final = 60  # seconds of a rate that may be leased at once
NO_LIMIT: Final = 1 << 40


class Way:
    """`now` in ms. `leased`: mails by this tick. Of its document only `data` and `version` are kept."""

    def __init__(self, provider: Provider, path: str, now: int) -> None:
        self.provider, self.path, self.now = provider, path, now
        self.today = warmup.day_of(now)
        self.version = ""  # of no document yet
        self.data: dict[str, Any] = {}
        self.leased = self._kept = 0
        self._lacking: dict[str, Any] = {}
        self._changed: set[str] = set()

    def read(self, document: Document | None) -> None:
        """Take over what is stored, and bring it up to this moment."""
        stored = document.data if document else {}
        self.version = document.version if document else ""
        config = _config(self.provider)
        self._lacking = {name: value for name, value in config.items() if stored.get(name) != value}
        self._changed, self.leased = set(), self._kept
        data = self.data = {"used": 0, "groups": {}, **copy.deepcopy(stored), **config}
        if data.get("day", "") < self.today.isoformat():
            data |= {"day": self.today.isoformat(), "used": 0}
        if rate := self.provider.rate:
            cap, since = max(1.0, MINUTE * rate), max(self.now, data.get("credit_at", 0))
            gained = rate * (since - data.get("credit_at", since)) / 1000
            data |= {"credit": round(min(cap, data.get("credit", cap) + gained), 3), "credit_at": since}
        if self.provider.warm_up:
            for group in warmup.ALL:
                if data["groups"].get(group, {}).get("began") != self.provider.warm_up.isoformat():
                    self._set(group, warmup.begin(self.provider.warm_up, self.today))

    # --- warm-up ---

    def warming(self, group: str) -> dict[str, Any] | None:
        """The state of the warm-up that holds back mails of a group; None when there is none."""
        state: dict[str, Any] = self.data["groups"][known(group)] if self.provider.warm_up else {"state": "established"}
        return None if state["state"] == "established" else state

    def unjudged(self) -> list[str]:
        """The groups whose state is that of an earlier day."""
        states = {group: self.warming(group) for group in warmup.ALL}
        return [group for group, state in states.items() if state and state["day"] < self.today.isoformat()]

    def judge(self, group: str, figures: warmup.Figures) -> None:
        """Judge a group of `unjudged`."""
        if self.provider.warm_up:
            state = self.data["groups"][group]
            self._set(group, warmup.judge(state, figures, self.provider.warm_up, self.today, self.now))

    def _set(self, group: str, state: dict[str, Any]) -> None:
        self.data["groups"][group] = self._lacking[f"groups.{group}"] = state

    def note(self) -> Write | None:
        """What the document lacks; None for nothing."""
        if not self._lacking:
            return None
        if self.version:
            return Merge(self.path, dict(self._lacking), if_version=self.version)
        groups = {"groups": self.data["groups"]} if self.provider.warm_up else {}
        return Create(self.path, {**_config(self.provider), **groups})

    def noted(self, version: str) -> None:
        """The document holds now what it lacked."""
        self.version, self._lacking = version, {}

    # --- leases ---

    def takes(self, group: str) -> bool:
        """Whether mails of a group may go this way; of readers who are not all at one mailbox provider some always may."""
        domains = GROUPS.get(group)
        return domains is None or any(self.provider.takes(domain, engaged) for domain in domains for engaged in (True, False))

    def left(self, group: str) -> int:
        """Mails of a group that may be leased now."""
        data, most = self.data, NO_LIMIT
        if data.get("down_until", 0) > self.now:
            return 0
        if self.provider.daily:
            most = min(most, self.provider.daily - data["used"])
        if self.provider.rate:
            most = min(most, int(data["credit"]))
        if state := self.warming(group):
            late = state["day"] != self.today.isoformat() or state["paused_until"] > self.now
            most = min(most, 0 if late else state["left"])
        return max(0, most)

    def lease(self, group: str, mails: int) -> None:
        """Take mails from what is left; a negative number gives back what was leased today."""
        data = self.data
        self.leased += max(0, mails)
        data["used"] = max(0, data["used"] + mails)
        self._changed |= {"day", "used"}
        if self.provider.rate:
            data["credit"] = round(min(max(1.0, MINUTE * self.provider.rate), data["credit"] - mails), 3)
            self._changed |= {"credit", "credit_at"}
        if state := self.warming(group):
            state["left"] = min(state["allowed"], state["left"] - mails)
            self._changed.add(f"groups.{known(group)}.left")

    def grant(self, mails: int) -> dict[str, Any]:
        """What a batch gets that holds `mails` of those leased: its share of the rate is that of its mails."""
        rate = self.provider.rate and self.provider.rate * mails / max(mails, self.leased)
        return {"mails": mails, "rate": round(rate, 4)}

    def write(self) -> Write | None:
        """What leases changed since the document was read or written; None for nothing."""
        if not self._changed:
            return None
        return Merge(
            self.path, {name: _at(self.data, name.split(".")) for name in sorted(self._changed)}, if_version=self.version
        )

    def written(self, version: str) -> None:
        """The document holds now what was leased."""
        self.version, self._changed, self._kept = version, set(), self.leased


def _config(provider: Provider) -> dict[str, Any]:
    first = provider.warm_up.isoformat() if provider.warm_up else ""
    return {
        "kind": provider.kind,
        "weight": provider.weight,
        "rate": provider.rate,
        "daily": provider.daily,
        "warm_up": first,
        "gone": False,
    }


def known(group: str) -> str:
    """The group whose warm-up counts mails of `group`."""
    return group if group in GROUPS else warmup.OTHER


def _at(data: Any, names: Iterable[str]) -> Data:
    for name in names:
        data = data[name]
    found: Data = data
    return found
