"""From OMS_URL to addresses: one name, several, or every address of a name, anew each round."""

import socket
import threading
from typing import Any

import pytest

from hooks.attempt import Peer, no_trust
from hooks.oms.addresses import Address, Addresses, Resolution
from hooks.settings import BaseUrl

SOON = 30.0
OMS = BaseUrl("http", "oms", 8080, "/base")
OTHER = BaseUrl("https", "other", 443, "")

UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
NOT_NOW = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
NO_ANSWER = "oms is not resolved (temporary failure in name resolution)"


class Resolver:
    """The system's resolver, which answers from a table that a test may change."""

    def __init__(self, **table: Any) -> None:
        self.table = table
        self.released = threading.Event()

    def __call__(self, host: str, port: int, _family: int, kind: int, *_: Any) -> Any:
        assert kind == socket.SOCK_STREAM
        found = self.table[host]
        if found == "hangs":
            assert self.released.wait(SOON)
            return []
        if isinstance(found, Exception):
            raise found
        return [(_family_of(ip), kind, 6, "", (ip, port)) for ip in found]


def _family_of(ip: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    """Stand in for the system's own."""
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    return resolver


def pods(*ips: str, base: BaseUrl = OMS) -> tuple[Address, ...]:
    return tuple(Address(base, ip) for ip in ips)


# How an address is written


@pytest.mark.parametrize(
    ("address", "origin", "label", "host_header"),
    [
        pytest.param(
            Address(OMS), "http://oms:8080", "oms:8080/base", "oms:8080", id="a name, a port and a path"
        ),
        pytest.param(Address(OTHER), "https://other:443", "other:443", "other", id="the port of https"),
        pytest.param(
            Address(BaseUrl("http", "oms", 80, "")), "http://oms:80", "oms:80", "oms", id="the port of http"
        ),
        pytest.param(
            Address(BaseUrl("http", "oms", 443, "")),
            "http://oms:443",
            "oms:443",
            "oms:443",
            id="that of https on http",
        ),
        pytest.param(
            Address(OMS, "10.0.0.1"),
            "http://10.0.0.1:8080",
            "10.0.0.1:8080/base",
            "oms:8080",
            id="a pod behind a name",
        ),
        pytest.param(
            Address(OTHER, "fd00::1"), "https://[fd00::1]:443", "[fd00::1]:443", "other", id="a pod by IPv6"
        ),
        pytest.param(
            Address(BaseUrl("http", "::1", 80, "")),
            "http://[::1]:80",
            "[::1]:80",
            "[::1]",
            id="an IPv6 address",
        ),
    ],
)
def test_it_is_dialled_by_address_called_by_address_and_asked_by_name(
    address: Address, origin: str, label: str, host_header: str
) -> None:
    """Origin, label, Host header."""
    assert (origin, label, host_header) == (address.origin, address.label, address.host_header)


def test_user_info_is_in_none_of_them() -> None:
    """It is secret."""
    address = Address(BaseUrl("http", "oms", 80, "", "ada:secret"))
    assert "secret" not in f"{address!r} {address.origin} {address.label} {address.host_header}"


# Names as they are


@pytest.mark.parametrize("resolvable", [False, True])
async def test_without_every_pod_each_base_address_is_one_target(
    resolvable: bool,  # noqa: FBT001
    resolver: Resolver,
) -> None:
    """Nobody is asked for them: the system finds each when it is dialled."""
    resolver.table = {"oms": ["10.0.0.1"]} if resolvable else {}
    addresses = Addresses((OMS, OTHER), every_pod=False)
    assert Resolution((Address(OMS), Address(OTHER))) == await addresses.resolve(SOON)


# Every pod


async def test_every_address_of_a_name_is_a_target(resolver: Resolver) -> None:
    """Once, in the order of numbers, IPv4 first."""
    resolver.table = {"oms": ["fd00::2", "10.0.0.10", "10.0.0.9", "10.0.0.10", "fd00::1"]}
    addresses = Addresses((OMS,), every_pod=True)
    assert Resolution(pods("10.0.0.9", "10.0.0.10", "fd00::1", "fd00::2")) == await addresses.resolve(SOON)


async def test_several_names_come_in_the_order_in_which_they_are_written(resolver: Resolver) -> None:
    """An address that two of them have is a target of each."""
    resolver.table = {"oms": ["10.0.0.2"], "other": ["10.0.0.1", "10.0.0.2"]}
    addresses = Addresses((OMS, OTHER), every_pod=True)
    expected = (*pods("10.0.0.2"), *pods("10.0.0.1", "10.0.0.2", base=OTHER))
    assert Resolution(expected) == await addresses.resolve(SOON)


async def test_one_name_with_two_paths_is_two_targets_an_address(resolver: Resolver) -> None:
    """They are looked up at the same time."""
    resolver.table = {"oms": ["10.0.0.1"]}
    second = BaseUrl("http", "oms", 8080, "/second")
    addresses = Addresses((OMS, second), every_pod=True)
    expected = (*pods("10.0.0.1"), *pods("10.0.0.1", base=second))
    assert Resolution(expected) == await addresses.resolve(SOON)


async def test_pods_come_and_go(resolver: Resolver) -> None:
    """Each round is a new answer."""
    addresses = Addresses((OMS,), every_pod=True)
    seen = []
    for ips in (["10.0.0.1"], ["10.0.0.1", "10.0.0.2"], ["10.0.0.2"], []):
        resolver.table = {"oms": ips}
        seen.append(await addresses.resolve(SOON))
    assert [
        Resolution(pods("10.0.0.1")),
        Resolution(pods("10.0.0.1", "10.0.0.2")),
        Resolution(pods("10.0.0.2")),
        Resolution(()),
    ] == seen


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        pytest.param(NOT_NOW, NO_ANSWER, id="the resolver does not answer"),
        pytest.param(socket.gaierror(socket.EAI_FAIL), "oms is not resolved (no answer)", id="in no words"),
        pytest.param(
            socket.gaierror(socket.EAI_NODATA, "No address associated with hostname"),
            "oms is not resolved (no address associated with hostname)",
            id="a name without addresses",
        ),
        pytest.param(
            OSError(24, "Too many open files"),
            "oms is not resolved (too many open files)",
            id="a fault of the system",
        ),
    ],
)
async def test_what_cannot_be_resolved_now_keeps_what_is_known(
    error: Exception, problem: str, resolver: Resolver
) -> None:
    """With the problem, since they may no longer be all."""
    addresses = Addresses((OMS,), every_pod=True)
    resolver.table = {"oms": ["10.0.0.1"]}
    await addresses.resolve(SOON)
    resolver.table = {"oms": error}
    assert Resolution(pods("10.0.0.1"), problem) == await addresses.resolve(SOON)


async def test_a_name_that_was_never_resolved_has_no_addresses(resolver: Resolver) -> None:
    """Only its problem."""
    resolver.table = {"oms": NOT_NOW}
    assert Resolution((), NO_ANSWER) == await Addresses((OMS,), every_pod=True).resolve(SOON)


async def test_a_name_that_is_unknown_has_no_addresses_any_more(resolver: Resolver) -> None:
    """DNS says so: nothing is kept."""
    addresses = Addresses((OMS,), every_pod=True)
    resolver.table = {"oms": ["10.0.0.1"]}
    await addresses.resolve(SOON)
    resolver.table = {"oms": UNKNOWN}
    problem = "oms is not resolved (name or service not known)"
    assert Resolution((), problem, unknown=True) == await addresses.resolve(SOON)


async def test_only_where_every_name_is_unknown_there_is_no_oms(resolver: Resolver) -> None:
    """One that is known, or cannot be asked for, says that there may be one."""
    addresses = Addresses((OMS, OTHER), every_pod=True)
    unknown = []
    for other in (UNKNOWN, NOT_NOW, ["10.0.0.1"]):
        resolver.table = {"oms": UNKNOWN, "other": other}
        unknown.append((await addresses.resolve(SOON)).unknown)
    assert [True, False, False] == unknown


async def test_the_problems_of_several_names_are_all_told(resolver: Resolver) -> None:
    """In the order in which they are written."""
    resolver.table = {"oms": NOT_NOW, "other": UNKNOWN}
    problem = f"{NO_ANSWER}; other is not resolved (name or service not known)"
    assert Resolution((), problem) == await Addresses((OMS, OTHER), every_pod=True).resolve(SOON)


async def test_a_name_that_hangs_is_waited_for_no_longer_than_told(resolver: Resolver) -> None:
    """The other one's addresses are there."""
    resolver.table = {"oms": "hangs", "other": ["10.0.0.1"]}
    found = await Addresses((OMS, OTHER), every_pod=True).resolve(0.3)
    resolver.released.set()
    assert Resolution(pods("10.0.0.1", base=OTHER), "oms is not resolved within 0.3 s") == found


@pytest.mark.parametrize("ip", ["10.0.0.1", "fd00::1", "fe80::1%eth0"])
async def test_whatever_a_resolver_finds_can_be_dialled(ip: str, resolver: Resolver) -> None:
    """A zone of a link, too."""
    resolver.table = {"oms": [ip]}
    (address,) = (await Addresses((OMS,), every_pod=True).resolve(SOON)).addresses
    await Peer(address.origin, trust=no_trust(), seconds=1, max_body_bytes=1).aclose()
