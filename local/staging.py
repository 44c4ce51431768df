"""What is deployed of a step: its folder and shared/, and the archive that Terraform uploads.

build/<step>/       as the functions framework serves it
build/<step>.zip    the same files; equal files make equal bytes on every machine, and Terraform names the object by their hash
"""

from __future__ import annotations

import shutil
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip archive can tell


def stage(step: str, folder: Path, root: Path = ROOT) -> None:
    """Copy a step and shared/ of the repository at `root` into `folder`, which is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", ".*")  # and what editors and file managers leave
    shutil.copytree(root / "functions" / step, folder, ignore=ignored)
    shutil.copytree(root / "shared", folder / "shared", ignore=ignored)


def archive(folder: Path, file: Path) -> None:
    """Write all files below `folder` into a zip archive: in the order of their names, without times, modes or compression, none of
    which is the same everywhere."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as made:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _EPOCH)
            entry.external_attr = 0o644 << 16
            made.writestr(entry, path.read_bytes())


if __name__ == "__main__":
    for step in sys.argv[1:]:
        stage(step, BUILD / step)
        archive(BUILD / step, BUILD / f"{step}.zip")
