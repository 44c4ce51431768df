"""New files of the templates folder: where they may be, what they may be called, what they start with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from functions.launch.freeze import ASIDE, SUFFIXES
from local.google.drive import DOC_SUFFIX, DriveFolder
from shared.errors import BadInput

_MAX_NAME, _MAX_DEPTH = 120, 4
_FOLDER = re.compile(r"\w(?:[\w ()-]*[\w)-])?")
_FILE = re.compile(r"\w[\w .()-]*")
_TOP = "---\nsubject: {0}\n---\n"
_BLANK = {
    ".md": _TOP + '# {0}\n\nHello {{{{ name or "friend" }}}},\n',
    ".html": _TOP + "<!doctype html>\n<html>\n<body>\n<h1>{0}</h1>\n</body>\n</html>\n",
    ".mjml": _TOP
    + "<mjml>\n<mj-body>\n<mj-section>\n<mj-column>\n<mj-text>{0}</mj-text>\n</mj-column>\n</mj-section>\n</mj-body>\n</mjml>\n",
    ".txt": _TOP + 'Hello {{{{ name or "friend" }}}},\n',
}


def add(folder: DriveFolder, wanted: str, contents: Mapping[str, bytes]) -> Path:
    """A new file in the folder. `contents`: by suffix, the first of them that of a name without one. Raises BadInput with a
    sentence."""
    name = normalize("NFC", wanted.strip().strip("/"))
    if not name:
        raise BadInput("Give the new file a name, such as spring-news.")
    if not suffix(name):
        name += next(iter(contents))
    if suffix(name) not in contents:
        raise BadInput(f"The name must end in {' or '.join(contents)}.")
    *inside, file = name.split("/")
    plain = _FILE.fullmatch(file) and all(_FOLDER.fullmatch(one) for one in inside)
    if not plain or len(name) > _MAX_NAME or len(inside) >= _MAX_DEPTH:
        raise BadInput(f"“{name[:60]}” cannot be a name here: use letters, digits, blanks and hyphens, as in spring/news.md.")
    taken = {path.relative_to(folder.folder).as_posix().casefold() for path in folder.paths()}
    if name.casefold() in taken:
        raise BadInput(f"There is a file called {name} already: choose another name.")
    path = folder.folder / name
    if not path.parent.resolve().is_relative_to(folder.folder):
        raise BadInput("That folder is not a part of the templates folder: choose another one.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as handle:
            handle.write(contents[suffix(name)])
    except OSError:
        raise BadInput(f"{name} cannot be made there: choose another name.") from None
    return path


def blank(name: str) -> dict[str, bytes]:
    """What a new file starts with, by its suffix: a template with a title, a part of others empty."""
    if group(name.strip().strip("/")) not in ("Templates", "Other files"):
        return dict.fromkeys(_BLANK, b"")
    words = re.sub(r"[-_]+", " ", PurePosixPath(name.strip()).name.partition(".")[0]).strip()
    return {suffix: text.format(words[:1].upper() + words[1:]).encode() for suffix, text in _BLANK.items()}


def group(name: str) -> str:
    """The heading that a file stands under; those in the folders ASIDE are no templates."""
    top, slash, _ = name.partition("/")
    if slash and top.lower() in ASIDE:
        return top.capitalize()
    return "Templates" if PurePosixPath(name).suffix.lower() in SUFFIXES else "Other files"


def suffix(name: str) -> str:
    return DOC_SUFFIX if name.endswith(DOC_SUFFIX) else PurePosixPath(name).suffix.lower()
