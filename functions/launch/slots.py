"""The moment of each reader's mail: at once, at one time of day where each reader is, or at each reader's best hour.

Asked once, when the rosters are cut: a reader is in the roster of one moment, whatever becomes of the zone or the clicks until it comes.
A moment that has passed when the rosters are cut is now, never tomorrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from shared.model.moments import zone_of

HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
FADES: Final = 30 * DAY  # after so long a click counts half
UNKNOWN: Final = -1  # the slot of readers who never clicked


class Slots(Protocol):
    """`fields`: what has to be read of a subscriber."""

    @property
    def fields(self) -> tuple[str, ...]: ...

    def slot(self, subscriber: Mapping[str, Any]) -> int:
        """A number for those who are to be mailed together."""
        ...

    def moments(self, readers: Mapping[int, int]) -> dict[int, int]:
        """Slot -> when it goes (ms), given how many readers each has."""
        ...


@dataclass(frozen=True)
class Together:
    """Everybody at `at`."""

    at: int
    fields: tuple[str, ...] = ()

    def slot(self, subscriber: Mapping[str, Any]) -> int:
        return 0

    def moments(self, readers: Mapping[int, int]) -> dict[int, int]:
        return dict.fromkeys(readers, self.at)


@dataclass(frozen=True)
class Local:
    """When a clock where the reader is shows `wall`; in `zone` for those whose zone is not known. Of two such moments, when the clocks go
    back, the first; of none, when they go forward, an hour later."""

    wall: datetime
    zone: str
    now: int
    fields: tuple[str, ...] = ("located",)
    _known: dict[str, int] = field(default_factory=dict)

    def slot(self, subscriber: Mapping[str, Any]) -> int:
        zone = str((subscriber.get("located") or {}).get("zone") or self.zone)
        if zone not in self._known:
            self._known[zone] = max(self.now, self._moment(zone))
        return self._known[zone]

    def _moment(self, zone: str) -> int:
        if known := zone_of(zone):
            return int(self.wall.replace(tzinfo=known).timestamp() * 1000)
        return self._moment(self.zone) if zone != self.zone else self.now

    def moments(self, readers: Mapping[int, int]) -> dict[int, int]:
        return {slot: slot for slot in readers}


@dataclass(frozen=True)
class Best:
    """At each reader's best hour within the 24 hours from `base` on (ms). Those who never clicked go at the hour that is best for most of
    the others, the sooner of two; at `base` when nobody clicked."""

    base: int
    now: int
    fields: tuple[str, ...] = ("engaged",)

    def slot(self, subscriber: Mapping[str, Any]) -> int:
        return best_hour(subscriber.get("engaged") or {}, self.base)

    def moments(self, readers: Mapping[int, int]) -> dict[int, int]:
        found = {hour: self._moment(hour) for hour in readers if hour != UNKNOWN}
        common = min(found, key=lambda hour: (-readers[hour], found[hour]), default=UNKNOWN)
        return found | {UNKNOWN: found.get(common, max(self.now, self.base))}

    def _moment(self, hour: int) -> int:
        """The first moment in that hour (UTC) from `base` on."""
        start = self.base - self.base % DAY + hour * HOUR
        return max(self.now, self.base, start) if start + HOUR > self.base else max(self.now, start + DAY)


def best_hour(engaged: Mapping[str, int], now: int) -> int:
    """The hour of the day (UTC) at which somebody is most likely to click; UNKNOWN for who never did. `engaged`: hour -> latest click (ms).

    An hour weighs 1 for a click just now, half of it for each FADES that has passed since; the hours beside it add half of theirs, so
    that a habit around an hour beats a single late click. The better hour itself decides between equals, then the earlier one.
    """
    weights: dict[int, float] = {int(hour) % 24: 0.5 ** (max(0, now - at) / FADES) for hour, at in engaged.items()}

    def score(hour: int) -> float:
        return weights[hour] + (weights.get((hour - 1) % 24, 0.0) + weights.get((hour + 1) % 24, 0.0)) / 2

    return max(weights, key=lambda hour: (score(hour), weights[hour], -hour), default=UNKNOWN)
