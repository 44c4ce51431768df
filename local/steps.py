"""The steps, and what calls each: what the twin, the operator's tools and the tests have to agree on."""

from __future__ import annotations

from shared.model import batch, event

STEPS = ("subscribe", "unsubscribe", "track", "webhooks", "launch", "send_batch", "record", "sync_sheet")
PUSHED = {"send_batch": batch.TOPIC, "record": event.TOPIC}  # step -> the topic it consumes
TICKED = ("launch", "sync_sheet")
PUBLIC = tuple(step for step in STEPS if step not in (*PUSHED, *TICKED))
