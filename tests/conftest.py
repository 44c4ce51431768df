"""Rules for every test: no network unless the test is marked `network` or `slow` (then 127.0.0.1 only), and under STRICT=1 nothing is
skipped. The end of the run says what was left out, and how many contract tests ran on which implementation of a port.

`make test` runs on two processes (pytest-xdist), a file of tests at a time, the longest first. Temporary files are in memory where
there is room for them: the embedded store syncs each commit, and on a disk the tests of the steps mostly wait for that.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import pytest_socket

from tests import recorded
from tests.emulated_google import emulators, left_out

__all__ = ["emulators"]  # for any test

LEFT_OUT = "left out"
CONTRACT = "contract"  # the property of a test's report: port, implementation
MEMORY = Path("/dev/shm")
ROOM = 2 << 30  # bytes free; passed tests leave nothing behind
LONGEST = (  # much work in few tests: one of them begun last would leave the other process idle
    "chaos/test_chaos",
    "terraform/test_mutants",
    "twin/test_week",
    "twin/test_readers",
    "twin/test_demo",
    "twin/test_demo_emulators",
    "faults/test_faults",
    "terraform/test_deployment",
    "terraform/test_provider",
    "terraform/test_bigquery",
    "terraform/test_calls",
    "terraform/test_checkov",
    "steps/test_injections",
    "steps/test_sync_million",
    "steps/test_erasure",
    "steps/test_sheet_edits",
    "steps/test_sending_limits",
    "fuzz/test_fuzz",
    "house/test_staged",
    "hostile/test_hostile",
)
_skipped: list[str] = []
_ran: Counter[object] = Counter()  # "Store sqlite" -> tests


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-calls", action="store_true", help=f"write {recorded.FILE.name}: {recorded.COMMAND}")


def pytest_configure(config: pytest.Config) -> None:
    hypothesis.settings.register_profile("laptop", deadline=None)  # machines are noisy
    hypothesis.settings.register_profile("strict", deadline=None, derandomize=True)  # a change lands or not for what it is
    hypothesis.settings.load_profile("strict" if os.environ.get("STRICT") else "laptop")
    config.pluginmanager.register(recorded.Run(), "recorded")
    if "TMPDIR" not in os.environ and _in_memory():
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def _in_memory() -> bool:
    """Whether temporary files may go to memory; tests also run programs there."""
    return os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC


@pytest.fixture(autouse=True)
def _network(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("network") or request.node.get_closest_marker("slow"):
        pytest_socket.enable_socket()
        pytest_socket.socket_allow_hosts(["127.0.0.1", "localhost", "::1"], allow_unix_socket=True)
    else:
        pytest_socket.disable_socket(allow_unix_socket=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    first = {Path(__file__).parent / f"{name}.py": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path, len(first)))
    for item in items:
        cls: type = getattr(item, "cls", None) or object
        for base in cls.__mro__[1:]:
            port, contract, _ = base.__name__.partition("Contract")
            if contract and getattr(item, "originalname", "") in vars(base):  # not what an implementation adds
                item.user_properties.append((CONTRACT, f"{port} {_implementation(cls, port)}"))


def _implementation(cls: type, port: str) -> str:
    """TestSqliteStore is "sqlite"; a TestDrive in test_drive_emulated.py is "emulated"."""
    name = cls.__name__.removeprefix("Test").removesuffix(port) or cls.__module__.rpartition("_")[2]
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped:
        _skipped.append(report.nodeid)
    elif report.when == "call":
        _ran.update(value for name, value in report.user_properties if name == CONTRACT)


def pytest_testnodedown(node: Any) -> None:
    """What a process of xdist's left out."""
    left_out.update(getattr(node, "workeroutput", {}).get(LEFT_OUT, ()))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[LEFT_OUT] = sorted(left_out)
    if os.environ.get("STRICT") == "1" and _skipped:
        print(f"\nSTRICT=1: skipped tests are failures: {', '.join(_skipped)}")
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    by_port: defaultdict[str, list[str]] = defaultdict(list)
    for contract, count in sorted(_ran.items(), key=str):
        port, implementation = str(contract).split(" ", 1)
        by_port[port].append(f"{implementation} {count}")
    if by_port:
        terminalreporter.write_line("contract: " + "; ".join(f"{port} {', '.join(found)}" for port, found in by_port.items()))
    for sentence in sorted(left_out):
        terminalreporter.write_line(sentence)
