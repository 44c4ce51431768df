"""Rules for every test: no network unless the test is marked `network` or `slow` (then 127.0.0.1 only), and under STRICT=1 nothing is
skipped."""

from __future__ import annotations

import os

import pytest
import pytest_socket

_skipped: list[str] = []


@pytest.fixture(autouse=True)
def _network(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("network") or request.node.get_closest_marker("slow"):
        pytest_socket.enable_socket()
        pytest_socket.socket_allow_hosts(["127.0.0.1", "localhost", "::1"], allow_unix_socket=True)
    else:
        pytest_socket.disable_socket(allow_unix_socket=True)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped:
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if os.environ.get("STRICT") == "1" and _skipped:
        print(f"\nSTRICT=1: skipped tests are failures: {', '.join(_skipped)}")
        session.exitstatus = 1
