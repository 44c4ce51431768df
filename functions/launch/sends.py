"""Later sends of a campaign that has ended: once more to those that failed, or to those who did not open it.

A command, not a state: it is done once, when the Wanted cell changes to it, and recorded in the same commit as the row.

Who gets it is found out afterwards, see prepare.py: only then is it one of the campaign's `sends`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from shared.errors import BadInput
from shared.model import console
from shared.model.campaign import ENDED, answered
from shared.model.paths import Paths
from shared.ports import Document, Filter, Store

from . import pace, prepare
from .rows import Row

KINDS: Final[Mapping[str, str]] = {console.RETRY.lower(): "retry", console.RESEND.lower(): "non-openers"}  # Wanted -> kind
ANEW: Final = "To send again, choose Draft first, and the command once the row says so."
MOST: Final = 9  # later sends: their keys, r1 to r9, are in order
WHOM: Final[Mapping[str, str]] = {"retry": "that failed", "non-openers": "who did not open it"}  # kind -> of those it goes to


def sending(data: Mapping[str, Any]) -> str:
    """What a campaign is at, for its answer, without a full stop."""
    *before, send = data.get("sends") or [{"expected": data["expected"]}]
    if whom := WHOM.get((data.get("preparing") or {}).get("kind", "")):
        return f"Preparing to send again to those {whom}{pace.said(data)}"
    if before:
        whom = f"again to {send['expected']:,} {WHOM[send['kind']]}"
    else:
        each = {"local": f", each at {data.get('wall', '')[-5:]} where they are", "best": ", each at their best hour"}
        whom = f"to {send['expected']:,}{each.get(data.get('when', ''), '')}"
    return f"Sending {whom}{pace.said(data)}"


async def again(
    store: Store, paths: Paths, row: Row, campaign: Document | None, options: Mapping[str, Any], ranked: bool, now: int
) -> dict[str, Any]:
    """What has to change for the campaign to be sent again. `options`: see Row. `ranked`: see Rosters.

    When the cell said so before, in a row of which something else is new, that is an answer and no command. Raises BadInput with the
    sentence why it is not sent, Unavailable.
    """
    kind, data = KINDS[row.wanted], campaign.data if campaign else {}
    if data.get("row", {}).get("wanted") == row.wanted:
        if data["state"] not in ENDED:
            return {"row": row.fields}
        return {"row": row.fields, **answered(f"Nothing more is sent: Wanted says what it said before. {ANEW}", now)}
    if campaign is None or not data.get("sends"):
        raise BadInput("It has not been sent yet, so there is nothing to send again.")
    if data["state"] not in ENDED or await store.count(paths.batches(campaign.id), Filter(equals=("state", "open"))):
        raise BadInput("It is still on its way. Once it has ended, choose Draft, and this again once the row says so.")
    if len(data["sends"]) > MOST:
        raise BadInput(f"It was sent again {MOST} times, which is as often as it can be. Use a new row.")
    begun = prepare.begin(kind, now, ranked, data["expected"], data["state"])
    changes = {**options, "row": row.fields, "state": "running", "active": True, "cut": False, "preparing": begun}
    return {**changes, "next_at": 0, "until": 0, **answered(f"{sending({**data, **changes})}.", now)}


def anew(data: Mapping[str, Any]) -> str:
    """How a campaign that has ended is sent again, when its Wanted cell still holds the command before; else ""."""
    return f" {ANEW}" if data.get("row", {}).get("wanted") in KINDS else ""
