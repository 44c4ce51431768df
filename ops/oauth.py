"""Lets operators act as themselves: consent once in a browser, then a token file.

Scopes: `spreadsheets` is what the Sheets adapter asks for. `drive` makes the folder, its templates and the sharing; the narrower
`drive.file` would not see a Sheet or folder that a person made, nor the templates that people put there.

The token file has the format of application default credentials ("authorized_user"), so that the adapters find it by
GOOGLE_APPLICATION_CREDENTIALS. It is refreshed at each start: they would ask for scopes narrower than those granted, which Google
refuses at a refresh, and need none within the hour that a token lasts.
"""

from __future__ import annotations

import json
import webbrowser
from pathlib import Path
from typing import Any

import google.auth.transport.requests
from google.auth.exceptions import GoogleAuthError, RefreshError
from google.oauth2.credentials import Credentials
from google_auth_oauthlib.flow import InstalledAppFlow, WSGITimeoutError
from oauthlib.oauth2 import OAuth2Error  # type: ignore[import-untyped]
from requests import RequestException

from shared.adapters.embedded import put
from shared.errors import BadInput, Unavailable

SCOPES = ("https://www.googleapis.com/auth/spreadsheets", "https://www.googleapis.com/auth/drive")
PATIENCE = 300  # seconds for the consent


def operator(client: Path, token: Path) -> None:
    """See that `token` (made with mode 0600) holds an access token for the next hour; asks in a browser when it cannot be refreshed.

    `client` is an OAuth client of the type Desktop app, as downloaded. Raises BadInput, Unavailable.
    """
    described = _described(client)
    found = _refreshed(token, described) or _consent(described)
    held = json.loads(found.to_json()) | {"type": "authorized_user"}  # type: ignore[no-untyped-call]
    token.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    put(token, json.dumps(held).encode(), 0o600)


def _described(client: Path) -> dict[str, Any]:
    try:
        found = json.loads(client.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise BadInput(f"--client: {client} is not there or is not the JSON file of an OAuth client.") from None
    wanted = {"client_id", "client_secret", "auth_uri", "token_uri"}
    if not isinstance(found, dict) or not wanted <= set(found.get("installed", ())):
        raise BadInput(f"--client: {client} must be an OAuth client of the type “Desktop app”: make one, and download its JSON.")
    return found


def _refreshed(token: Path, described: dict[str, Any]) -> Credentials | None:
    """Fresh credentials from the token file, None when there is none of this client's, or it was revoked or has expired."""
    client = described["installed"]
    try:
        kept = json.loads(token.read_text(encoding="utf-8"))
        if kept["client_id"] != client["client_id"]:
            return None
        found = Credentials(  # type: ignore[no-untyped-call]
            None,
            refresh_token=kept["refresh_token"],
            token_uri=client["token_uri"],
            client_id=client["client_id"],
            client_secret=client["client_secret"],
            scopes=SCOPES,
        )
        found.refresh(google.auth.transport.requests.Request())  # type: ignore[no-untyped-call]
    except (OSError, ValueError, KeyError, TypeError, RefreshError):
        return None
    except GoogleAuthError as error:
        raise Unavailable("Google's sign-in", type(error).__name__) from None
    return found


def _consent(described: dict[str, Any]) -> Credentials:
    """Ask in the operator's browser, or print the address to open when there is none to start."""
    flow = InstalledAppFlow.from_client_config(described, SCOPES)
    try:
        webbrowser.get()
        here = True
    except webbrowser.Error:
        here = False
    try:
        found: Credentials = flow.run_local_server(port=0, open_browser=here, prompt="consent", timeout_seconds=PATIENCE)
        return found
    except WSGITimeoutError:
        raise BadInput(f"Nobody answered in the browser within {PATIENCE // 60} minutes: run this again.") from None
    except OAuth2Error as error:
        raise BadInput(f"Google did not give access ({error.error}): run this again, and allow it.") from None
    except Warning:  # how oauthlib says that other scopes were granted
        raise BadInput("Not everything was allowed: run this again, and tick both Sheets and Drive.") from None
    except RequestException as error:
        raise Unavailable("Google's sign-in", type(error).__name__) from None
