"""Which proxy of the environment a URL is spoken to through."""

import asyncio
import socket
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hooks import redaction
from hooks.attempt import NoAnswer, Outcome
from hooks.paging.endpoint import Endpoint
from hooks.proxies import Route, route
from tests.test_settings import TEXT, unknown

PROXY = "http://proxy:3128"
NOT_USED = "is not an http(s) proxy: it is not used"


def way(monkeypatch: pytest.MonkeyPatch, url: str = "https://pagerduty.test/v2", **variables: str) -> Route:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return route(url)


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        pytest.param("https://pagerduty.test/", {"HTTPS_PROXY": PROXY}, id="the variable of its scheme"),
        pytest.param("https://pagerduty.test/", {"https_proxy": PROXY}, id="in lower case"),
        pytest.param("http://pagerduty.test/", {"HTTP_PROXY": PROXY}, id="without TLS"),
        pytest.param("http://pagerduty.test/", {"http_proxy": PROXY}, id="without TLS, in lower case"),
        pytest.param("https://pagerduty.test/", {"ALL_PROXY": PROXY}, id="the variable of all"),
        pytest.param("http://pagerduty.test/", {"all_proxy": PROXY}, id="the variable of all in lower case"),
        pytest.param(
            "https://pagerduty.test/",
            {"HTTPS_PROXY": PROXY, "ALL_PROXY": "http://b"},
            id="its scheme goes first",
        ),
        pytest.param(
            "https://pagerduty.test/",
            {"https_proxy": PROXY, "HTTPS_PROXY": "http://b"},
            id="lower case goes first",
        ),
        pytest.param("https://pagerduty.test/", {"HTTPS_PROXY": "proxy:3128"}, id="without a scheme"),
        pytest.param(
            "https://pagerduty.test/", {"HTTPS_PROXY": PROXY, "NO_PROXY": "oms"}, id="NO_PROXY names another"
        ),
        pytest.param(
            "https://pagerduty.test/", {"HTTPS_PROXY": PROXY, "NO_PROXY": ""}, id="NO_PROXY names nobody"
        ),
        pytest.param(
            "https://pagerduty.test/",
            {"HTTPS_PROXY": PROXY, "NO_PROXY": "duty.test"},
            id="NO_PROXY names half a label",
        ),
    ],
)
def test_a_url_is_spoken_to_through_its_proxy(
    url: str, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As any other program reads these variables."""
    assert Route(PROXY, {}) == way(monkeypatch, url, **variables)


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        pytest.param("https://pagerduty.test/", {}, id="no variable"),
        pytest.param("https://pagerduty.test/", {"HTTPS_PROXY": ""}, id="an empty one"),
        pytest.param("https://pagerduty.test/", {"HTTP_PROXY": PROXY}, id="only that of another scheme"),
        pytest.param(
            "https://pagerduty.test/", {"HTTPS_PROXY": PROXY, "https_proxy": ""}, id="emptied in lower case"
        ),
        pytest.param(
            "https://pagerduty.test/", {"HTTPS_PROXY": PROXY, "NO_PROXY": "pagerduty.test"}, id="its host"
        ),
        pytest.param(
            "https://pagerduty.test/", {"HTTPS_PROXY": PROXY, "no_proxy": "a, pagerduty.test"}, id="in a list"
        ),
        pytest.param("https://pagerduty.test/", {"HTTPS_PROXY": PROXY, "NO_PROXY": ".test"}, id="its domain"),
        pytest.param(
            "https://pagerduty.test/", {"HTTPS_PROXY": PROXY, "NO_PROXY": "test"}, id="its domain, bare"
        ),
        pytest.param("https://pagerduty.test/", {"ALL_PROXY": PROXY, "NO_PROXY": "*"}, id="everybody"),
        pytest.param("http://10.0.0.1:8080/", {"HTTP_PROXY": PROXY, "NO_PROXY": "10.0.0.1"}, id="an address"),
        pytest.param(
            "http://oms:8080/", {"HTTP_PROXY": PROXY, "NO_PROXY": "oms:8080"}, id="a host and its port"
        ),
        pytest.param(
            "http://a:b@oms:8080/", {"HTTP_PROXY": PROXY, "NO_PROXY": "oms"}, id="a host with user info"
        ),
    ],
)
def test_a_url_is_spoken_to_directly(
    url: str, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no proxy is named for it, or it is named as an exception."""
    assert Route(None, {}) == way(monkeypatch, url, **variables)


UNUSABLE = [
    pytest.param("socks5://proxy:1080", id="another scheme"),
    pytest.param("http://", id="no host"),
    pytest.param("http://:3128", id="only a port"),
    pytest.param("http://proxy:0", id="port 0"),
    pytest.param("http://proxy:99999", id="a port beyond the last"),
    pytest.param("http://proxy:port", id="a port by name"),
    pytest.param("http://[::1", id="half an IPv6 address"),
    pytest.param("http://1.2.3.999", id="no IPv4 address"),
    pytest.param("http://pröxy:3128", id="a name beyond ASCII"),
    pytest.param("http://pro xy:3128", id="a space"),
    pytest.param("http://pro\nxy:3128", id="a line break"),
    pytest.param("\udcff", id="bytes that are not UTF-8"),
]


@pytest.mark.parametrize("value", UNUSABLE)
def test_a_proxy_that_cannot_be_used_is_told_and_not_used(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its variable, never by its value: there may be a password in it."""
    assert Route(None, {"HTTPS_PROXY": NOT_USED}) == way(monkeypatch, HTTPS_PROXY=value)


def test_after_one_that_cannot_be_used_the_next_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """ALL_PROXY is the second choice."""
    unusable = {"HTTPS_PROXY": "socks5://proxy:1080"}
    assert Route(PROXY, {"HTTPS_PROXY": NOT_USED}) == way(monkeypatch, **unusable, ALL_PROXY=PROXY)
    both = {"HTTPS_PROXY": NOT_USED, "ALL_PROXY": NOT_USED}
    assert Route(None, both) == way(monkeypatch, ALL_PROXY="socks5h://proxy:1080")


@pytest.mark.parametrize(
    "listed",
    [
        "localhost,127.0.0.1,::1",
        "10.0.0.0/8, fd00::/8",
        ".svc,.cluster.local",
        "*.corp.example",
        "oms:8080,a_b.c.",
        "*",
        ",,",
    ],
)
def test_what_people_write_into_no_proxy_is_no_fault(listed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, domains, addresses, networks."""
    assert way(monkeypatch, NO_PROXY=listed).faults == {}


@pytest.mark.parametrize("odd", ["http://oms", "[::1]", "a b", "-%-", "10.0.0.0/99", "oms:port"])
def test_what_names_no_host_is_told(odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other entries count all the same."""
    faults = {"NO_PROXY": f"has entries that name no host: {odd}"}
    assert Route(None, faults) == way(monkeypatch, HTTPS_PROXY=PROXY, NO_PROXY=f"{odd}, pagerduty.test")


def test_many_odd_entries_are_not_all_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault is a line."""
    (fault,) = way(monkeypatch, NO_PROXY="a b," * 1000).faults.values()
    assert len(fault) < 200


def test_the_password_of_a_proxy_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """From then on it is in no log."""
    url = "http://ada:s3cr3t-Zx81@proxy:3128"
    assert Route(url, {}) == way(monkeypatch, HTTPS_PROXY=url)
    assert redaction.redact("no s3cr3t-Zx81") == f"no {redaction.HIDDEN}"


NAMES = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "NO_PROXY")
HOSTS = st.sampled_from(["proxy", "1.2.3.999", "[::1%25eth0]", "<proxy>", "*", "%"]) | TEXT
VALUES: Any = (
    st.builds(
        lambda *parts: "".join(parts),
        st.sampled_from(["", "http://", "https://", "HTTP://", "http:/"]),
        HOSTS,
    )
    | TEXT
)


@given(st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1))
@example({"HTTP_PROXY": "http://1.2.3.999"})
@example({"HTTP_PROXY": f"http://{'a' * 70_000}"})
@example({"HTTP_PROXY": f"http://{'a' * 64}.example"})
@example({"HTTP_PROXY": f"http://proxy/{'a' * 70_000}"})
@example({"HTTP_PROXY": "http://a..b"})
@example({"HTTP_PROXY": "http://:@proxy"})
@example({"HTTP_PROXY": "http://xn--7a"})
@example({"HTTP_PROXY": "https://proxy"})
@example({"HTTP_PROXY": "http://ädä:b@proxy"})
def test_no_variable_costs_a_page(variables: dict[str, str]) -> None:
    """Whatever is in it, there is a way to PagerDuty."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        patch.setattr(socket, "getaddrinfo", unknown)
        outcome = asyncio.run(posted())
    redaction.forget_all()
    assert isinstance(outcome, NoAnswer)


async def posted() -> Outcome:
    return await Endpoint("http://pagerduty.test/v2/enqueue", seconds=1).post("{}", 1, decisive={202})
