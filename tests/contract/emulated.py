"""The Google emulator under a real server on 127.0.0.1, for the official client to talk to."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httplib2
import uvicorn
from googleapiclient.discovery import build, build_from_document
from googleapiclient.discovery_cache import get_static_doc
from starlette.applications import Starlette

from local import seed
from local.google import Google, google_app


@dataclass(frozen=True)
class Emulated:
    google: Google
    url: str

    def reset(self) -> None:
        """Empty again, as a new twin; starting a server and generating a client for each test takes longer."""
        with self.google.sheets.change() as db:
            for table in ("books", "tabs", "cells"):
                db.execute(f"delete from {table}")
        self.google.sheets.create_spreadsheet("book", "Pipeline", "Europe/Berlin")
        shutil.rmtree(self.google.drive.folder)
        self.google.drive.folder.mkdir()

    def raw(self, name: str, version: str, path: str = "/") -> Any:
        """The official client without our adapter."""
        options = {"api_endpoint": self.url + path}
        client = httplib2.Http(timeout=10, proxy_info=None)
        return build(name, version, http=client, static_discovery=True, cache_discovery=False, client_options=options)

    def uploading(self) -> Any:
        """The official client of Drive's files, which uploads to nowhere but the discovery document's own root."""
        described = json.loads(get_static_doc("drive", "v3")) | {"rootUrl": f"{self.url}/", "baseUrl": f"{self.url}/drive/v3/"}
        return build_from_document(described, http=httplib2.Http(timeout=10, proxy_info=None)).files()


@contextmanager
def emulated(
    state: Path, folder: Path, write_quota: int = 1000, account: str = "", front: Callable[[Any], Any] = lambda app: app
) -> Iterator[Emulated]:
    """Serve a spreadsheet "book" and a Drive folder "templates", which is the `account`'s own. `front` goes around the ASGI app."""
    google = google_app(state, folder, "book", identity=seed.IDENTITY, write_quota=write_quota, account=account)
    google.sheets.create_spreadsheet("book", "Pipeline", "Europe/Berlin")  # stays when it is there
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(front(Starlette(routes=google.routes)), log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield Emulated(google, f"http://127.0.0.1:{listener.getsockname()[1]}")
        finally:
            server.should_exit = True
            thread.join()
            google.close()
