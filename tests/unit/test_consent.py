"""What an evidence keeps of a moment: the network and not the person, the program and no address."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.model.consent import agent_of, network_of


@pytest.mark.parametrize(
    ("client", "network"),
    [
        ("203.0.113.7", "203.0.113.0/24"),
        ("::ffff:203.0.113.7", "203.0.113.0/24"),
        ("2001:db8:1:2ff:3::4", "2001:db8:1:200::/56"),
        ("fe80::1%eth0", "fe80::/56"),
        ("203.0.113.7:80", ""),
        ("unknown", ""),
        ("", ""),
    ],
)
def test_the_network_of_a_client(client: str, network: str) -> None:
    assert network_of(client) == network


@given(st.ip_addresses().map(str) | st.text("0123456789.", max_size=15))
@example("01.2.3.4")
@example("256.1.1.1")
@example("1.2.3.4\n")
@example("١.2.3.4")
def test_a_network_is_what_the_standard_library_says(client: str) -> None:
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        assert network_of(client) == ""
    else:
        width = 24 if address.version == 4 else 56
        assert network_of(client) == str(ipaddress.ip_network((address, width), strict=False)) or ":ffff:" in client


def test_an_agent_is_short_and_holds_no_address() -> None:
    assert agent_of("Robot/1.0 (+mailto:ada@example.com)\tLinux") == "Robot/1.0 … Linux"
    assert agent_of("x" * 300) == "x" * 200 and agent_of("") == ""
