"""Whose address a request is counted under: pure."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from aliquot.identity.address import client_address, counting_address
from aliquot.identity.service import normalise_email

addresses = st.ip_addresses().map(str)


def test_the_nearest_untrusted_hop_is_the_client() -> None:
    trusted = ["10.0.0.0/8", "192.0.2.1", "not a network"]
    assert client_address("203.0.113.9", "198.51.100.1", trusted) == "203.0.113.9"
    assert client_address("10.1.2.3", "198.51.100.1", trusted) == "198.51.100.1"
    assert client_address("10.1.2.3", "1.1.1.1, 198.51.100.1, 192.0.2.1", trusted) == "198.51.100.1"
    assert client_address("10.1.2.3", None, trusted) == "10.1.2.3"
    assert client_address("10.1.2.3", " , ,", trusted) == "10.1.2.3"
    assert client_address("10.1.2.3", "1.1.1.1, evil", trusted) == "10.1.2.3"
    assert client_address(None, "1.1.1.1", trusted) == "local"
    assert client_address("local", "1.1.1.1", ["local"]) == "1.1.1.1"


@given(peer=addresses, forwarded=st.text(max_size=80))
def test_without_trusted_proxies_the_header_is_never_believed(peer: str, forwarded: str) -> None:
    assert client_address(peer, forwarded, []) == peer


@given(peer=addresses, claimed=st.lists(addresses, max_size=4), real=addresses)
def test_what_stands_left_of_the_real_client_is_never_believed(peer: str, claimed: list[str], real: str) -> None:
    trusted = [peer] if peer != real else []
    expected = real if trusted else peer
    assert client_address(peer, ", ".join([*(c for c in claimed if c != peer), real]), trusted) == expected


@given(network=st.integers(0, 2**64 - 1), low=st.integers(0, 2**64 - 1), high=st.integers(0, 2**64 - 1))
def test_ipv6_addresses_of_one_64_count_as_one(network: int, low: int, high: int) -> None:
    first, second = (ipaddress.IPv6Address(network << 64 | host) for host in (low, high))
    if first.ipv4_mapped is None and second.ipv4_mapped is None:
        assert counting_address(str(first)) == counting_address(str(second))


def test_ipv4_counts_alone_however_it_is_written() -> None:
    assert counting_address("192.0.2.1") == counting_address("::ffff:192.0.2.1") == "192.0.2.1"
    assert counting_address("192.0.2.2") != counting_address("192.0.2.1")
    assert counting_address("unix:/socket") == "local"


@given(st.text(max_size=50))
def test_normalising_an_address_twice_changes_nothing_for_ascii(text: str) -> None:
    ascii_only = text.encode("ascii", "ignore").decode()
    assert normalise_email(normalise_email(ascii_only)) == normalise_email(ascii_only)
