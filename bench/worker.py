"""One worker of bench.scale: a process with send_batch on a store file that it shares with others, `python -m bench.worker STATE PORT`.

A line on its input is a message to handle, `{"id", "message"}`; one on its output is `{"id", "done", "published"}`: whether the step
took it (else it is to come again, as Pub/Sub would), and what it asked for on send-requests. PORT is the mail server's.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import IO, Any

import uvloop

from shared.model import batch
from shared.providers.smtp import SmtpSender

from . import stage


async def serve(state: Path, port: int, out: IO[str]) -> None:
    """Until the input ends."""
    given = await stage.Stage.open(state)
    sender = SmtpSender("127.0.0.1", port)
    step = given.send_batch(sender)

    async def handle(line: str) -> None:
        told: dict[str, Any] = json.loads(line)
        try:
            await step.handle(told["message"])
            done = True
        except Exception as error:
            print(f"worker: {type(error).__name__}: {error}", file=sys.stderr)
            done = False
        out.write(json.dumps({"id": told["id"], "done": done, "published": given.bus.take(batch.TOPIC)}) + "\n")
        out.flush()

    async with asyncio.TaskGroup() as handling:
        while line := await asyncio.to_thread(sys.stdin.readline):
            handling.create_task(handle(line))
    await sender.close()
    await given.close()


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "w") as out, open(os.devnull, "w") as nowhere:
        sys.stdout = nowhere  # the step's own log
        uvloop.run(serve(Path(sys.argv[1]), int(sys.argv[2]), out))
