"""What the bootstrap is told: every option checked, and asked for at the terminal where a first run lacks it."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence

import typer

from shared.adapters.drive import FOLDER
from shared.errors import BadInput
from shared.model.address import parse
from shared.model.moments import zone_of

from .workspace import SHEET, THINGS

VARIABLES = {
    "project": "GOOGLE_CLOUD_PROJECT",
    "sheet": "SHEET",
    "folder": "FOLDER",
    "name": "TENANT_NAME",
    "from-address": "FROM_ADDRESS",
    "from-name": "FROM_NAME",
    "postal-address": "POSTAL_ADDRESS",
    "list-domain": "LIST_DOMAIN",
    "time-zone": "TIME_ZONE",
    "approvers": "APPROVERS",
    "admins": "ADMINS",
    "hold": "HOLD",
}
QUESTIONS = {
    "project": "Google Cloud project",
    "sheet": "Sheet (address or id)",
    "folder": "Drive folder (address or id)",
    "name": "Name, as readers know you",
    "from-address": "Sender's address",
    "from-name": "Sender's name",
    "postal-address": "Postal address, for the foot of each mail",
    "list-domain": "Domain of the list, like news.example.com",
    "time-zone": "Time zone, like Europe/Lisbon",
}
IDENTITY = ("from-address", "from-name", "postal-address", "list-domain")  # the fields of a sender, with hyphens


def checked(option: str, text: str) -> str:
    """An option's value as it is used. Raises BadInput with a sentence that names the option."""
    text = text.strip()
    match option:
        case "sheet" | "folder":
            thing, other = (THINGS[SHEET], "/folders/") if option == "sheet" else (THINGS[FOLDER], "/spreadsheets/")
            found = re.search(r"/(?:d|folders)/([\w-]+)|[?&]id=([\w-]+)", text) or re.fullmatch(r"([\w-]+)()", text)
            if not found or other in text:
                raise BadInput(f"--{option} must be the id of a {thing}, or its address.")
            return found[1] or found[2]
        case "from-address":
            try:
                return parse(text)
            except BadInput as error:
                raise BadInput(f"--from-address: {error}") from None
        case "list-domain":
            try:
                return parse(f"list@{text}").partition("@")[2]
            except BadInput:
                raise BadInput("--list-domain must be a domain name, like news.example.com.") from None
        case "time-zone":
            if (zone := zone_of(text)) is None:
                raise BadInput(f"--time-zone: “{text}” is not a time zone, like Europe/Lisbon is.")
            return zone.key
        case "approvers" | "admins":
            try:
                return ",".join(sorted({parse(one.strip()).lower() for one in text.split(",") if one.strip()}))
            except BadInput as error:
                raise BadInput(f"--{option}: {error}") from None
        case "hold":
            if not re.fullmatch(r"\d{1,5}", text, re.ASCII):
                raise BadInput("--hold must be a number of minutes, like 15.")
        case "project":
            if not re.fullmatch(r"[a-z][a-z0-9:.-]+", text):
                raise BadInput(f"--project: “{text}” is not the id of a project.")
        case _:
            if not text.replace("\n", "").isprintable():
                raise BadInput(f"--{option} holds characters that cannot be shown.")
    return text


def all_checked(given: Mapping[str, str]) -> dict[str, str]:
    """The options that say anything, as they are used. Raises BadInput with a sentence for each that is wrong."""
    found, problems = {}, []
    for option, text in given.items():
        if text.strip():
            try:
                found[option] = checked(option, text)
            except BadInput as error:
                problems.append(str(error))
    if problems:
        raise BadInput("\n".join(problems))
    return found


def lacking(given: Mapping[str, str], own: bool) -> list[str]:
    """The options that a first run needs and was not given. `own`: it can make the Sheet and the folder."""
    places = ["sheet", "folder"] if not own else [] if "sheet" in given else ["time-zone"]
    return [option for option in ("project", *places, "name", *IDENTITY) if option not in given]


def _ask(option: str) -> str:
    while True:
        try:
            return checked(option, typer.prompt(QUESTIONS[option]))
        except BadInput as error:
            typer.echo(str(error))


def complete(given: dict[str, str], names: Sequence[str]) -> None:
    """Ask for these options; raises BadInput naming all of them when nobody is there to answer."""
    if names and not sys.stdin.isatty():
        missing = ", ".join(f"--{option} ({VARIABLES[option]})" for option in names)
        other = "; or give --client (CLIENT) and let me make the Sheet and the folder" if "sheet" in names else ""
        raise BadInput(f"Missing: {missing}{other}.")
    for option in names:
        given[option] = _ask(option)
