"""The steps, and what calls each: what the twin, the operator's tools and the tests have to agree on."""

from __future__ import annotations

from shared.model import batch, endpoint, erasure, event

STEPS = (
    "subscribe",
    "unsubscribe",
    "track",
    "live",
    "archive",
    "webhooks",
    "inbox",
    "launch",
    "send_batch",
    "record",
    "report",
    "privacy",
    "notify",
    "sync_sheet",
)
# step -> the topic it consumes
PUSHED = {"send_batch": batch.TOPIC, "record": event.TOPIC, "notify": event.TOPIC, "privacy": erasure.TOPIC}
ACK_DEADLINE = {"privacy": 170}  # seconds that a push may take in the twin, where a minute is too short
TICKED = ("launch", "inbox", "report", "sync_sheet")
PUBLIC = tuple(step for step in STEPS if step not in (*PUSHED, *TICKED))


def subscriptions(events_out: str) -> dict[str, tuple[str, str]]:
    """Push subscription -> its step and topic: one a step, named after it, but of notify one for each endpoint of EVENTS_OUT."""
    found = {step: (step, topic) for step, topic in PUSHED.items() if step != "notify"}
    return found | {one.subscription: ("notify", event.TOPIC) for one in endpoint.parse(events_out, local=True).values()}
