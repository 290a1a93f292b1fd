"""The environment as frozen values, and every fault of it at once."""

import asyncio
import contextlib
import itertools
import socket
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from hooks import redaction, settings
from hooks.attempt import NoAnswer, Outcome, Peer, no_trust
from hooks.expression import Expression
from hooks.oms.addresses import Address
from hooks.oms.documents import Ownership
from hooks.paging.endpoint import Endpoint
from hooks.settings import BaseUrl, MisconfiguredError
from tests.conftest import KINDS, VARIABLES, Loading
from tests.hostile.certificates import Authorities

DEFAULTS = {
    "OMS_EVERY_POD": "false",
    "OMS_MIN_TARGETS": "1",
    "OMS_ADMIN_TOKEN": None,
    "OMS_CA_FILE": None,
    "OMS_CLIENT_CERT_FILE": None,
    "OMS_CLIENT_KEY_FILE": None,
    "OMS_MODE_PATH": "/health/mode",
    "OMS_HEALTH_PATH": "/health/deep",
    "OMS_SWITCH_PATH": "/admin/mode",
    "OMS_SWITCH_METHOD": "POST",
    "OMS_STANDBY_BODY": '{"mode":"standby","reason":$reason}',
    "OMS_ACTIVE_BODY": '{"mode":"active","reason":$reason}',
    "OMS_STANDBY_CONDITION": '.mode == "standby"',
    "OMS_ACTIVE_CONDITION": '.mode == "active"',
    "OMS_OWNER_FILTER": ".reason",
    "OMS_SINCE_FILTER": ".since",
    "OMS_UNNAMED_IS_OURS": "true",
    "OMS_REASON": "argocd-sync",
    "HOOK_RUN_ID": None,
    "OMS_ATTEMPT_TIMEOUT_SECONDS": "5",
    "OMS_MAX_BODY_BYTES": "1048576",
    "STANDBY_TIMEOUT_SECONDS": "60",
    "STANDBY_POLL_SECONDS": "0.1",
    "STANDBY_ON_FAILURE": "return",
    "STANDBY_UNDO_SECONDS": "10",
    "STANDBY_IF_ABSENT": "fail",
    "STANDBY_ABSENT_SECONDS": "35",
    "STANDBY_IF_FOREIGN": "proceed",
    "STANDBY_GUARD_CONDITION": None,
    "VERIFY_TIMEOUT_SECONDS": "300",
    "VERIFY_POLL_SECONDS": "0.2",
    "VERIFY_CONDITION": '.status == "healthy" and .exchange_connections == "all_connected"',
    "VERIFY_FAIL_CONDITION": None,
    "VERIFY_CONSECUTIVE": "3",
    "VERIFY_RETURN_TO_ACTIVE": "true",
    "VERIFY_SOAK_SECONDS": "0",
    "ALERT_TIMEOUT_SECONDS": "300",
    "ALERT_GATHER_SECONDS": "5",
    "ALERT_RECOVERY": "none",
    "ALERT_RUNBOOK_URL": None,
    "ALERT_FALLBACK_URL": None,
    "ALERT_FALLBACK_FORMAT": "slack",
    "ALERT_FALLBACK_AFTER_SECONDS": "45",
    "WATCH_POLL_SECONDS": "5",
    "WATCH_STANDBY_SECONDS": "900",
    "WATCH_UNREADABLE_SECONDS": "300",
    "WATCH_REPEAT_SECONDS": "3600",
    "WATCH_LISTEN": "0.0.0.0:9464",
    "PAGERDUTY_EVENTS_URL": "https://events.pagerduty.com/v2/enqueue",
    "PAGERDUTY_SEVERITY": "critical",
    "PAGERDUTY_SOURCE": "argocd",
    "PAGERDUTY_COMPONENT": None,
    "PAGERDUTY_DEDUP_KEY": None,
    "PAGERDUTY_ATTEMPT_TIMEOUT_SECONDS": "10",
    "ARGOCD_APP_NAMESPACE": "argocd",
    "ARGOCD_URL": None,
    "SERVICE_ACCOUNT_DIR": "/var/run/secrets/kubernetes.io/serviceaccount",
    "KUBERNETES_SERVICE_HOST": None,
    "KUBERNETES_SERVICE_PORT": "443",
    "SECRETS_DIR": None,
    "LOG_FORMAT": "auto",
    "LOG_LEVEL": "info",
    "TERMINATION_LOG": "/dev/termination-log",
}
"""As the environment would hold them; what is required, in one command or another, is below."""

REQUIRED = {"OMS_URL": "http://oms", "PAGERDUTY_ROUTING_KEY": "r" * 32, "ARGOCD_APP_NAME": "oms"}

Kind = type[settings.Logging]

COMMANDS: dict[str, Kind] = {
    "presync-standby": settings.Standby,
    "postsync-verify": settings.Postsync,
    "syncfail-alert": settings.AlertByPagerDuty,
    "return-to-active": settings.Verification,
    "standby-watchdog": settings.Watch,
}

MUST_BE_SET: dict[str, set[str]] = {
    "presync-standby": {"OMS_URL"},
    "postsync-verify": {"OMS_URL"},
    "syncfail-alert": {"PAGERDUTY_ROUTING_KEY"},
    "return-to-active": {"OMS_URL"},
    "standby-watchdog": {"OMS_URL", "PAGERDUTY_ROUTING_KEY", "ARGOCD_APP_NAME"},
}

PEM = "is not what it should be: PEM, unencrypted, certificate and key belonging together"


def command_that_reads(*variables: str) -> Kind:
    """Return the first command that reads all of these."""
    return next(
        kind for kind in COMMANDS.values() if {name.lower() for name in variables} <= set(kind.model_fields)
    )


def values(read: settings.Logging) -> dict[str, Any]:
    """Return settings as values that can be compared."""
    return {name.upper(): _comparable(getattr(read, name)) for name in type(read).model_fields}


def _comparable(value: Any) -> Any:
    if isinstance(value, Expression) and value.text.startswith(". as $reason"):
        return value.only('"argocd-sync/7"')
    return value.text if isinstance(value, Expression) else value


def faults(loading: Loading, kind: Kind | None = None, **variables: str) -> dict[str, str]:
    """Return what is found wrong, in the first command that reads these unless told which."""
    required = {name: value for name, value in REQUIRED.items() if name not in variables}
    with pytest.raises(MisconfiguredError) as misconfigured:
        loading(kind or command_that_reads(*variables), **required, **variables)
    return misconfigured.value.faults


def value(loading: Loading, variable: str, text: str) -> Any:
    """Return one variable as it is read."""
    required = {name: value for name, value in REQUIRED.items() if name != variable}
    return values(loading(command_that_reads(variable), **required, **{variable: text}))[variable]


# Defaults


def test_every_variable_is_in_one_of_the_tables_above() -> None:
    """And no table has one that nobody reads."""
    assert {*DEFAULTS, *REQUIRED} == VARIABLES


@pytest.mark.parametrize("kind", COMMANDS.values(), ids=COMMANDS)
def test_the_defaults_are_those_of_the_contract(kind: Kind, loading: Loading) -> None:
    """Unset is the same as set to its default."""
    unset = values(loading(kind, **REQUIRED))
    assert unset == values(loading(kind, **REQUIRED, **_written_defaults()))
    assert {None} == {unset[name] for name, default in DEFAULTS.items() if name in unset and default is None}


def _written_defaults() -> dict[str, str]:
    return {name: default for name, default in DEFAULTS.items() if default is not None}


@pytest.mark.parametrize("kind", COMMANDS.values(), ids=COMMANDS)
def test_an_empty_variable_is_an_unset_one(kind: Kind, loading: Loading) -> None:
    """White space is nothing too."""
    unset = values(loading(kind, **REQUIRED))
    assert unset == values(loading(kind, **REQUIRED, **dict.fromkeys(DEFAULTS, "")))
    assert unset == values(loading(kind, **REQUIRED, **dict.fromkeys(DEFAULTS, " \n")))


@pytest.mark.parametrize("command", COMMANDS)
def test_what_must_be_set_is_named_when_it_is_not(command: str, loading: Loading) -> None:
    """Nothing else has to be."""
    missing = dict.fromkeys(MUST_BE_SET[command], "is missing")
    assert missing == faults(loading, COMMANDS[command], **dict.fromkeys(REQUIRED, ""))
    loading(COMMANDS[command], **{name: REQUIRED[name] for name in MUST_BE_SET[command]})


def test_settings_do_not_change() -> None:
    """What was read once holds to the end."""
    read = settings.load(settings.Logging)
    with pytest.raises(ValidationError):
        read.log_level = "debug"


def test_a_variable_counts_as_it_is_spelt(loading: Loading) -> None:
    """Lower case is another variable."""
    assert loading(settings.Logging, log_level="debug").log_level == "info"


# Values


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "1", "on", "yes", "y", "t"])
def test_what_is_true(text: str, loading: Loading) -> None:
    """As pydantic reads booleans."""
    assert True is value(loading, "OMS_EVERY_POD", text)


@pytest.mark.parametrize("text", ["false", "False", "FALSE", "0", "off", "no", "n", "f"])
def test_what_is_false(text: str, loading: Loading) -> None:
    """As pydantic reads booleans."""
    assert False is value(loading, "OMS_UNNAMED_IS_OURS", text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0.05", 0.05), ("5.", 5), ("1e2", 100), ("+7", 7), (" 7\n", 7), ("1e308", 1e308), ("1_0", 10)],
)
def test_durations_are_seconds_and_fractions_of_them(text: str, seconds: float, loading: Loading) -> None:
    """A line between digits is pydantic's, too."""
    assert seconds == value(loading, "STANDBY_TIMEOUT_SECONDS", text)


@pytest.mark.parametrize("variable", sorted(name for name in VARIABLES if name.endswith("_SECONDS")))
@pytest.mark.parametrize(
    "text", ["-1", "-0.001", "nan", "inf", "-inf", "Infinity", "1e400", "5s", "1,5", "0x10", "five"]
)
def test_what_is_no_duration_is_a_fault(variable: str, text: str, loading: Loading) -> None:
    """A unit, a comma, nothing finite or less than nothing: named, whatever the duration is for."""
    assert {variable} == faults(loading, None, **{variable: text}).keys()


@pytest.mark.parametrize("variable", sorted(name for name in VARIABLES if name.endswith("_SECONDS")))
@pytest.mark.parametrize("text", ["0", "1e-400"])
def test_no_duration_but_the_soak_may_be_nothing(variable: str, text: str, loading: Loading) -> None:
    """0 is off there, and nonsense elsewhere."""
    if variable == "VERIFY_SOAK_SECONDS":
        assert value(loading, variable, text) == 0
    else:
        assert {variable: "input should be greater than 0"} == faults(loading, None, **{variable: text})


@pytest.mark.parametrize("variable", ["OMS_MIN_TARGETS", "OMS_MAX_BODY_BYTES", "VERIFY_CONSECUTIVE"])
@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1e3", "many", "9" * 5000])
def test_what_is_no_count_is_a_fault(variable: str, text: str, loading: Loading) -> None:
    """At least one, and whole."""
    assert {variable} == faults(loading, None, **{variable: text}).keys()


@pytest.mark.parametrize(
    ("variable", "text", "fault"),
    [
        ("LOG_FORMAT", "xml", "input should be 'auto', 'json' or 'console'"),
        ("LOG_LEVEL", "INFO", "input should be 'debug', 'info', 'warning', 'error' or 'critical'"),
        ("STANDBY_ON_FAILURE", "undo", "input should be 'return' or 'hold'"),
        ("STANDBY_IF_ABSENT", "ignore", "input should be 'fail' or 'skip'"),
        ("STANDBY_IF_FOREIGN", "steal", "input should be 'proceed', 'wait' or 'refuse'"),
        ("ALERT_RECOVERY", "yes", "input should be 'none' or 'return-to-active'"),
        ("ALERT_FALLBACK_FORMAT", "mail", "input should be 'slack' or 'alertmanager'"),
        ("PAGERDUTY_SEVERITY", "fatal", "input should be 'critical', 'error', 'warning' or 'info'"),
        ("OMS_EVERY_POD", "2", "input should be a valid boolean, unable to interpret input"),
        ("OMS_SWITCH_METHOD", "PO ST", "is not an HTTP method"),
        ("OMS_SWITCH_METHOD", "PÖST", "is not an HTTP method"),
        ("OMS_ADMIN_TOKEN", "tökén", "must be printable ASCII"),
        ("OMS_ADMIN_TOKEN", "to\tken", "must be printable ASCII"),
        ("OMS_REASON", "\udcff", "is not UTF-8"),
        ("KUBERNETES_SERVICE_PORT", "70000", "input should be less than or equal to 65535"),
        ("WATCH_LISTEN", "9464", "is not HOST:PORT"),
        ("WATCH_LISTEN", ":9464", "is not HOST:PORT"),
        ("WATCH_LISTEN", "0.0.0.0:http", "is not HOST:PORT"),
        ("WATCH_LISTEN", "0.0.0.0:65536", "is not HOST:PORT"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_variable(
    variable: str, text: str, fault: str, loading: Loading
) -> None:
    """And told what it may be."""
    assert {variable: fault} == faults(loading, None, **{variable: text})


def test_a_method_is_sent_in_upper_case(loading: Loading) -> None:
    """HTTP methods are case-sensitive, and people are not."""
    assert value(loading, "OMS_SWITCH_METHOD", "put") == "PUT"


# Addresses


@pytest.mark.parametrize(
    ("text", "bases"),
    [
        pytest.param("http://oms", [BaseUrl("http", "oms", 80, "")], id="a name"),
        pytest.param("https://oms", [BaseUrl("https", "oms", 443, "")], id="with TLS"),
        pytest.param("HTTP://OMS", [BaseUrl("http", "oms", 80, "")], id="in upper case"),
        pytest.param("http://oms:", [BaseUrl("http", "oms", 80, "")], id="an empty port"),
        pytest.param("http://oms:8080/", [BaseUrl("http", "oms", 8080, "")], id="a slash at its end"),
        pytest.param("http://oms/a/b//", [BaseUrl("http", "oms", 80, "/a/b")], id="slashes after a path"),
        pytest.param("http://oms/a%20b", [BaseUrl("http", "oms", 80, "/a%20b")], id="a path that is encoded"),
        pytest.param("http://oms/ä", [BaseUrl("http", "oms", 80, "/%C3%A4")], id="a path that is not yet"),
        pytest.param("http://[::1]:8080", [BaseUrl("http", "::1", 8080, "")], id="IPv6"),
        pytest.param(
            "http://bücher.example",
            [BaseUrl("http", "xn--bcher-kva.example", 80, "")],
            id="a name beyond ASCII",
        ),
        pytest.param("http://ada:p%40ss@oms", [BaseUrl("http", "oms", 80, "", "ada:p@ss")], id="user info"),
        pytest.param(
            " http://a , https://b:1/c,,",
            [BaseUrl("http", "a", 80, ""), BaseUrl("https", "b", 1, "/c")],
            id="several",
        ),
        pytest.param("http://a,http://a/,http://a:80", [BaseUrl("http", "a", 80, "")], id="one thrice"),
    ],
)
def test_base_addresses(text: str, bases: list[BaseUrl], loading: Loading) -> None:
    """One or several, each once, in the order in which they are written."""
    assert tuple(bases) == value(loading, "OMS_URL", text)


NOT_AN_ADDRESS = [
    pytest.param("oms", id="a name without a scheme"),
    pytest.param("oms:8080", id="a name and a port"),
    pytest.param("ftp://oms", id="another scheme"),
    pytest.param("http://", id="no host"),
    pytest.param("http:///path", id="only a path"),
    pytest.param("http://@", id="only user info"),
    pytest.param("http://oms:0", id="port 0"),
    pytest.param("http://oms:99999", id="a port beyond the last"),
    pytest.param("http://oms:http", id="a port by name"),
    pytest.param("http://oms:٨٠", id="a port in other digits"),
    pytest.param("http://a..b", id="an empty label"),
    pytest.param(f"http://{'a' * 64}", id="a label that is too long"),
    pytest.param("http://[::1", id="half an IPv6 address"),
    pytest.param("http://1.2.3.999", id="no IPv4 address"),
    pytest.param("http://oms/a b", id="a space"),
    pytest.param("http://oms/a\u200bb", id="a space that is not seen"),
    pytest.param("http://h℀", id="a name that turns into a path"),
    pytest.param(f"http://oms/{'a' * 3000}", id="beyond any length"),
]


@pytest.mark.parametrize("text", NOT_AN_ADDRESS)
def test_what_is_no_base_address_is_a_fault(text: str, loading: Loading) -> None:
    """One of several spoils it."""
    fault = {"OMS_URL": "is not an http(s) address"}
    assert (fault, fault) == (faults(loading, OMS_URL=text), faults(loading, OMS_URL=f"http://oms,{text}"))


@pytest.mark.parametrize("text", ["http://oms/?a=b", "http://oms?a", "http://oms/#f"])
def test_a_base_address_takes_no_query(text: str, loading: Loading) -> None:
    """Paths are appended to it."""
    assert faults(loading, OMS_URL=text) == {
        "OMS_URL": "is a base address: it takes no query and no fragment"
    }


def test_a_list_of_nothing_names_no_address(loading: Loading) -> None:
    """Commas alone are not an address."""
    assert {"OMS_URL"} == faults(loading, OMS_URL=" , ,").keys()


@pytest.mark.parametrize(
    "variable", ["PAGERDUTY_EVENTS_URL", "ALERT_RUNBOOK_URL", "ARGOCD_URL", "ALERT_FALLBACK_URL"]
)
@pytest.mark.parametrize("text", NOT_AN_ADDRESS)
def test_what_is_no_url_is_a_fault(variable: str, text: str, loading: Loading) -> None:
    """Wherever one is asked for."""
    assert {variable: "is not an http(s) address"} == faults(
        loading, settings.AlertByPagerDuty, **{variable: text}
    )


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("https://wiki/oms?page=standby&x=%20#on-call", "https://wiki/oms?page=standby&x=%20#on-call"),
        ("https://ada:secret@wiki:8443/", "https://ada:secret@wiki:8443/"),
        ("https://[::1]:8443/a", "https://[::1]:8443/a"),
        ("https://bücher.example/ä?ö", "https://xn--bcher-kva.example/%C3%A4?%C3%B6"),
    ],
)
def test_a_url_keeps_what_it_has(text: str, read: str, loading: Loading) -> None:
    """Only what a request line cannot hold is encoded."""
    assert read == value(loading, "PAGERDUTY_EVENTS_URL", text)


def test_several_fallbacks_are_each_an_address(loading: Loading) -> None:
    """They are one secret, and several once they are used."""
    read = loading(settings.AlertByPagerDuty, **REQUIRED, ALERT_FALLBACK_URL="https://a/x, https://b/y?z,")
    assert isinstance(read, settings.Incident)
    assert settings.secret_urls(read.alert_fallback_url) == ["https://a/x", "https://b/y?z"]
    assert settings.secret_urls(None) == []


@pytest.mark.parametrize(
    ("host", "is_address"), [("10.0.0.1", True), ("::1", True), ("oms", False), ("10.0.0", False)]
)
def test_an_address_is_told_from_a_name(host: str, is_address: bool) -> None:  # noqa: FBT001
    """What is an address needs no looking up."""
    assert is_address is BaseUrl("http", host, 80, "").is_address


@pytest.mark.parametrize("variable", ["OMS_MODE_PATH", "OMS_HEALTH_PATH", "OMS_SWITCH_PATH"])
@pytest.mark.parametrize(
    "text",
    ["health", "http://oms/health", "/a b", "/a\tb", "/a\u00a0b", "/a\u200bb", f"/{'a' * 70_000}"],
)
def test_what_is_no_path_is_a_fault(variable: str, text: str, loading: Loading) -> None:
    """It begins with a slash, and a request line can hold it."""
    assert {variable} == faults(loading, None, **{variable: text}).keys()


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("/", "/"),
        ("/a%20b?c=d&e", "/a%20b?c=d&e"),
        ("/mödé", "/m%C3%B6d%C3%A9"),
    ],
)
def test_a_path_may_have_a_query(text: str, read: str, loading: Loading) -> None:
    """Only what a request line cannot hold is encoded."""
    assert read == value(loading, "OMS_MODE_PATH", text)


# Expressions

CONDITIONS = sorted(name for name in VARIABLES if name.endswith(("_CONDITION", "_FILTER")))
BODIES = ["OMS_ACTIVE_BODY", "OMS_STANDBY_BODY"]


@pytest.mark.parametrize("variable", [*CONDITIONS, *BODIES])
@pytest.mark.parametrize("text", [".mode ==", "no_such_function", "1)", "{", "$nobody", '"\\ud800"'])
def test_an_expression_that_does_not_compile_is_a_fault(variable: str, text: str, loading: Loading) -> None:
    """In jq's own words."""
    fault = faults(loading, None, **{variable: text})
    assert {variable} == fault.keys()
    assert fault[variable].startswith("is not a jq expression: ")


@pytest.mark.parametrize("variable", BODIES)
@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param("empty", "builds no request: yields no value", id="no request"),
        pytest.param("1, 2", "builds no request: yields more than one value", id="two requests"),
        pytest.param('error("why")', "builds no request: why", id="an error"),
        pytest.param(
            "$reason.name",
            'builds no request: Cannot index string with string ("name")',
            id="a name of a name",
        ),
    ],
)
def test_a_body_that_builds_no_request_is_a_fault(
    variable: str, text: str, fault: str, loading: Loading
) -> None:
    """It is tried before it is needed."""
    assert {variable: fault} == faults(loading, None, **{variable: text})


@pytest.mark.parametrize("variable", BODIES)
@pytest.mark.parametrize(
    ("text", "built"),
    [
        pytest.param('{"state":"passive"}', {"state": "passive"}, id="plain JSON"),
        pytest.param("{by: $reason} # why", {"by": "argocd-sync/7"}, id="a comment at its end"),
        pytest.param("$reason", "argocd-sync/7", id="our name alone"),
        pytest.param('"a" as $reason | $reason', "a", id="a name that is hidden"),
        pytest.param(".", None, id="the input, which is nothing"),
        pytest.param("nan", None, id="no number is null"),
        pytest.param('{a: ("x" | ascii_upcase)}, empty', {"a": "X"}, id="anything that jq can"),
    ],
)
def test_a_body_builds_the_request(variable: str, text: str, built: Any, loading: Loading) -> None:
    """From our name, or from nothing."""
    assert built == value(loading, variable, text)


@pytest.mark.parametrize(
    ("run", "name"), [("", "argocd-sync"), ("b7a0", "argocd-sync/b7a0"), ("a/b", "argocd-sync/a/b")]
)
def test_our_name_names_the_run(run: str, name: str, loading: Loading) -> None:
    """Where there is a run to name."""
    read = loading(settings.Standby, **REQUIRED, HOOK_RUN_ID=run)
    assert isinstance(read, settings.Oms)
    assert name == Ownership.of(read).mine


# What must fit together


@pytest.mark.parametrize(
    "variables",
    [
        {"STANDBY_IF_ABSENT": "skip", "STANDBY_ABSENT_SECONDS": "60"},
        {"STANDBY_IF_ABSENT": "skip", "STANDBY_ABSENT_SECONDS": "61"},
        {"STANDBY_IF_ABSENT": "skip", "STANDBY_TIMEOUT_SECONDS": "35"},
    ],
)
def test_absence_must_be_told_before_the_time_is_over(variables: dict[str, str], loading: Loading) -> None:
    """Whichever of the two was set."""
    assert faults(loading, settings.Standby, **variables) == {
        "STANDBY_ABSENT_SECONDS": "must be less than STANDBY_TIMEOUT_SECONDS"
    }


@pytest.mark.parametrize(
    "variables",
    [
        {"STANDBY_IF_ABSENT": "skip", "STANDBY_ABSENT_SECONDS": "59.9"},
        {"STANDBY_IF_ABSENT": "fail", "STANDBY_ABSENT_SECONDS": "600"},
        {"STANDBY_TIMEOUT_SECONDS": "1"},
    ],
)
def test_absence_may_be_told_in_time_or_not_matter(variables: dict[str, str], loading: Loading) -> None:
    """Without `skip` the one has nothing to do with the other."""
    loading(settings.Standby, **REQUIRED, **variables)


def test_a_fault_of_one_is_not_a_fault_of_the_other(loading: Loading) -> None:
    """What cannot be compared is told once."""
    assert {"STANDBY_TIMEOUT_SECONDS"} == faults(
        loading, STANDBY_IF_ABSENT="skip", STANDBY_TIMEOUT_SECONDS="soon"
    ).keys()


def test_postsync_needs_the_name_of_the_application_only_beside_a_routing_key(loading: Loading) -> None:
    """An incident is found again by that name."""
    assert faults(loading, settings.Postsync, ARGOCD_APP_NAME="") == {
        "ARGOCD_APP_NAME": "is missing beside PAGERDUTY_ROUTING_KEY"
    }
    loading(settings.Postsync, PAGERDUTY_ROUTING_KEY="", ARGOCD_APP_NAME="")


# Certificates


def test_certificates_that_can_be_used_are_no_fault(
    authorities: Authorities, loading: Loading, tmp_path: Path
) -> None:
    """An authority, and a certificate with its key in one file or in two."""
    certificate, key = authorities.client_files(tmp_path)
    both = certificate.with_name("both.pem")
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    files = {"OMS_CA_FILE": str(authorities.ca_file), "OMS_CLIENT_CERT_FILE": str(certificate)}
    loading(settings.Standby, **REQUIRED, **files, OMS_CLIENT_KEY_FILE=str(key))
    loading(settings.Standby, OMS_CLIENT_CERT_FILE=str(both), OMS_CLIENT_KEY_FILE="")


def test_a_file_that_cannot_be_read_is_a_fault_of_its_variable(
    authorities: Authorities, loading: Loading, tmp_path: Path
) -> None:
    """Missing, or not a file."""
    certificate, key = map(str, authorities.client_files(tmp_path))
    missing = "cannot be read (No such file or directory)"
    nowhere = str(tmp_path / "nowhere")
    assert {"OMS_CA_FILE": missing} == faults(loading, OMS_CA_FILE=nowhere)
    assert faults(loading, OMS_CA_FILE=str(tmp_path)) == {"OMS_CA_FILE": "cannot be read (Is a directory)"}
    loading(settings.Logging, OMS_CA_FILE="")
    assert {"OMS_CLIENT_KEY_FILE": missing} == faults(
        loading, OMS_CLIENT_CERT_FILE=certificate, OMS_CLIENT_KEY_FILE=nowhere
    )
    assert {"OMS_CLIENT_CERT_FILE": missing} == faults(
        loading, OMS_CLIENT_CERT_FILE=nowhere, OMS_CLIENT_KEY_FILE=key
    )
    assert {"OMS_CLIENT_CERT_FILE": missing} == faults(
        loading, OMS_CLIENT_CERT_FILE=nowhere, OMS_CLIENT_KEY_FILE=""
    )


def test_a_file_that_is_no_certificate_is_a_fault(
    authorities: Authorities, loading: Loading, tmp_path: Path
) -> None:
    """A key is no authority, nor is text."""
    _, key = authorities.client_files(tmp_path)
    (tmp_path / "text").write_text("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "ascii")
    for path in (key, tmp_path / "text"):
        assert faults(loading, OMS_CA_FILE=str(path)) == {"OMS_CA_FILE": PEM}


def test_a_certificate_and_a_key_that_do_not_belong_together_are_a_fault(
    authorities: Authorities, loading: Loading, tmp_path: Path
) -> None:
    """One of two pairs, and a certificate whose key is nowhere."""
    certificate, key = authorities.client_files(tmp_path)
    other = key.with_name("other.key")
    other.write_bytes(authorities.trusted.issue_cert("other.test").private_key_pem.bytes())
    assert faults(loading, OMS_CLIENT_CERT_FILE=str(certificate), OMS_CLIENT_KEY_FILE=str(other)) == {
        "OMS_CLIENT_KEY_FILE": PEM
    }
    assert faults(loading, OMS_CLIENT_CERT_FILE=str(certificate), OMS_CLIENT_KEY_FILE="") == {
        "OMS_CLIENT_KEY_FILE": PEM
    }


def test_a_key_without_a_certificate_is_a_fault(
    authorities: Authorities, loading: Loading, tmp_path: Path
) -> None:
    """It would never be shown."""
    _, key = authorities.client_files(tmp_path)
    assert faults(loading, OMS_CLIENT_KEY_FILE=str(key)) == {
        "OMS_CLIENT_KEY_FILE": "is set without OMS_CLIENT_CERT_FILE"
    }


def test_an_encrypted_key_is_a_fault_and_nobody_is_asked_for_a_password(
    authorities: Authorities, loading: Loading, tmp_path: Path
) -> None:
    """There is nobody at the terminal."""
    certificate, key = map(str, authorities.client_files(tmp_path, password=b"secret"))
    assert faults(loading, OMS_CLIENT_CERT_FILE=certificate, OMS_CLIENT_KEY_FILE=key) == {
        "OMS_CLIENT_KEY_FILE": PEM
    }


# Files


def put(folder: Path, files: Mapping[str, bytes]) -> str:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return str(folder)


def test_a_variable_may_be_a_file(tmp_path: Path, loading: Loading) -> None:
    """Of the same name, and white space around it does not count."""
    secrets = put(
        tmp_path, {"OMS_URL": b"http://oms\n", "OMS_ADMIN_TOKEN": b"\n token \r\n", "OMS_MIN_TARGETS": b"3\n"}
    )
    read = values(loading(settings.Standby, SECRETS_DIR=secrets))
    assert (3, SecretStr("token")) == (read["OMS_MIN_TARGETS"], read["OMS_ADMIN_TOKEN"])
    assert (BaseUrl("http", "oms", 80, ""),) == read["OMS_URL"]


def test_the_environment_wins(tmp_path: Path, loading: Loading) -> None:
    """Unless it is empty; then nobody even reads the file."""
    secrets = put(tmp_path, {"LOG_LEVEL": b"debug", "LOG_FORMAT": b"\xff"})
    read = loading(settings.Logging, SECRETS_DIR=secrets, LOG_LEVEL="error", LOG_FORMAT="json")
    assert (read.log_level, read.log_format) == ("error", "json")
    assert loading(settings.Logging, LOG_LEVEL="").log_level == "debug"


def test_an_empty_file_is_an_unset_variable(tmp_path: Path, loading: Loading) -> None:
    """White space is nothing too."""
    secrets = put(tmp_path, {"LOG_LEVEL": b"", "LOG_FORMAT": b" \n", "OMS_URL": b""})
    assert faults(loading, settings.Standby, SECRETS_DIR=secrets, OMS_URL="") == {"OMS_URL": "is missing"}


def test_a_secrets_directory_is_not_looked_for_in_itself(tmp_path: Path, loading: Loading) -> None:
    """There is one."""
    (tmp_path / "SECRETS_DIR").write_text("/elsewhere", "ascii")
    assert tmp_path == loading(settings.Logging, SECRETS_DIR=str(tmp_path)).secrets_dir


def test_files_that_cannot_be_read_are_faults_of_their_variables(tmp_path: Path, loading: Loading) -> None:
    """They hide no other fault."""
    secrets = put(tmp_path, {"OMS_ADMIN_TOKEN": b"\xff\xfe", "OMS_MIN_TARGETS": b"none"})
    (tmp_path / "OMS_REASON").mkdir()
    (tmp_path / "HOOK_RUN_ID").symlink_to("HOOK_RUN_ID")
    found = faults(loading, settings.Standby, SECRETS_DIR=secrets, LOG_LEVEL="loud")
    assert {"OMS_ADMIN_TOKEN", "OMS_MIN_TARGETS", "OMS_REASON", "HOOK_RUN_ID", "LOG_LEVEL"} == found.keys()
    assert {
        "OMS_ADMIN_TOKEN": "its file in SECRETS_DIR is not UTF-8",
        "OMS_REASON": "its file in SECRETS_DIR cannot be read (Is a directory)",
        "HOOK_RUN_ID": "its file in SECRETS_DIR cannot be read (Too many levels of symbolic links)",
    }.items() <= found.items()


def test_the_directory_must_be_there_when_it_is_named(tmp_path: Path, loading: Loading) -> None:
    """A file is no directory."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "nowhere", tmp_path / "file"):
        assert faults(loading, SECRETS_DIR=str(path)) == {"SECRETS_DIR": "is not a directory"}


# Faults


def test_all_faults_are_told_at_once_in_one_sentence(loading: Loading) -> None:
    """By the variables' names, in one error."""
    with pytest.raises(MisconfiguredError) as misconfigured:
        loading(settings.Standby, OMS_MIN_TARGETS="none", STANDBY_ON_FAILURE="undo", OMS_ADMIN_TOKEN="tökén")
    assert str(misconfigured.value) == (
        "OMS_URL: is missing; "
        "OMS_MIN_TARGETS: input should be a valid integer, unable to parse string as an integer; "
        "OMS_ADMIN_TOKEN: must be printable ASCII; "
        "STANDBY_ON_FAILURE: input should be 'return' or 'hold'"
    )


def test_what_is_ignored_is_taken_as_unset(loading: Loading) -> None:
    """The default then holds, or it is missing."""
    with pytest.raises(MisconfiguredError):
        loading(settings.Standby, OMS_URL="oms", OMS_MIN_TARGETS="none")
    with pytest.raises(MisconfiguredError) as misconfigured:
        settings.load(settings.Standby, ignoring={"OMS_URL", "OMS_MIN_TARGETS"})
    assert misconfigured.value.faults == {"OMS_URL": "is missing"}


def test_what_can_be_used_is_read_and_the_rest_is_the_default(loading: Loading) -> None:
    """Every fault is told beside it."""
    loading(settings.Logging, OMS_URL="http://oms", OMS_MIN_TARGETS="none", VERIFY_CONSECUTIVE="5")
    read, found = settings.load_what_can_be_used(settings.Alert)
    assert {"OMS_MIN_TARGETS"} == found.keys()
    assert (read.oms_min_targets, read.verify_consecutive, read.oms_url[0].host) == (1, 5, "oms")


def test_without_faults_everything_is_used(loading: Loading) -> None:
    """Nothing is told."""
    loading(settings.Logging, OMS_MIN_TARGETS="2")
    read, found = settings.load_what_can_be_used(settings.Alert)
    assert (read.oms_min_targets, found) == (2, {})


def test_a_certificate_goes_with_its_key(authorities: Authorities, loading: Loading, tmp_path: Path) -> None:
    """When the one cannot be used, the other is of no use."""
    certificate, key = map(str, authorities.client_files(tmp_path))
    for pair in ((certificate, str(tmp_path / "no")), (str(tmp_path / "no"), key)):
        variables = dict(zip(("OMS_CLIENT_CERT_FILE", "OMS_CLIENT_KEY_FILE"), pair, strict=True))
        loading(settings.Logging, **variables)
        read, found = settings.load_what_can_be_used(settings.Alert)
        assert (read.oms_client_cert_file, read.oms_client_key_file) == (None, None)
        assert found.keys() & variables.keys()


def test_what_has_no_default_cannot_be_made_do_without() -> None:
    """Then there is an end of it."""
    with pytest.raises(MisconfiguredError) as misconfigured:
        settings.load_what_can_be_used(settings.Standby)
    assert misconfigured.value.faults == {"OMS_URL": "is missing"}


# What changes


def test_files_tell_that_they_have_changed(
    authorities: Authorities, loading: Loading, tmp_path: Path
) -> None:
    """Written anew, put in another's place, added or gone; nothing else is looked at."""
    secrets = put(tmp_path, {"OMS_ADMIN_TOKEN": b"old", "unrelated": b""})
    variables = {"OMS_URL": "http://oms", "SECRETS_DIR": secrets, "OMS_CA_FILE": str(authorities.ca_file)}
    read = loading(settings.Verification, **variables)
    assert isinstance(read, settings.Oms)
    token = tmp_path / "OMS_ADMIN_TOKEN"

    def changes() -> Iterator[None]:
        put(tmp_path, {"unrelated": b"new"})
        yield
        put(tmp_path, {"OMS_ADMIN_TOKEN": b"longer"})
        yield
        put(tmp_path, {"next": b"LONGER"})
        (tmp_path / "next").rename(token)
        yield
        put(tmp_path, {"OMS_REASON": b"deploy"})
        yield
        token.unlink()
        yield

    states = [settings.files_of(read)] + [settings.files_of(read) for _ in changes()]
    assert [True, False, False, False, False] == [
        before == after for before, after in itertools.pairwise(states)
    ]
    assert {authorities.ca_file, token} <= states[0].keys()
    assert (None, None) == (states[0][tmp_path / "OMS_REASON"], states[-1][token])


def test_without_files_nothing_can_change(loading: Loading) -> None:
    """The environment does not."""
    read = loading(settings.Verification, OMS_URL="http://oms")
    assert isinstance(read, settings.Oms)
    assert settings.files_of(read) == {}


# Whatever is set

# Environment variables hold bytes, but no NUL; what is not UTF-8 comes as lone surrogates.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.binary().map(
    lambda content: content.replace(b"\0", b"").decode("utf-8", "surrogateescape")
)
TELLING = st.sampled_from(
    [
        "0",
        "-1",
        "1e999",
        "nan",
        "true",
        "http://[",
        "https://u:p@h℀/",
        "/dev/null",
        "/",
        ".",
        "{",
        "..",
        "[.[]]",
        "$x",
        "\\",
    ]
)
READ = st.sampled_from(sorted(VARIABLES - {"SECRETS_DIR"}))


@given(kind=st.sampled_from(sorted(COMMANDS)), variables=st.dictionaries(READ, TEXT | TELLING, min_size=1))
def test_no_value_of_any_variable_raises_anything_else(kind: str, variables: dict[str, str]) -> None:
    """Every environment is one that can be used, or misconfigured."""
    with pytest.MonkeyPatch.context() as patch:
        for name, text in variables.items():
            patch.setenv(name, text)
        try:
            settings.load(COMMANDS[kind])
        except MisconfiguredError as error:
            # What must be set and is not, and what does not fit together, is a fault as well.
            assert error.faults.keys() <= VARIABLES  # noqa: PT017
            assert all(error.faults.values())  # noqa: PT017
    redaction.forget_all()


HOSTS = st.sampled_from(
    ["oms", "1.2.3.999", "[::1%25eth0]", "[v1.x]", "a_b", "*", "%2e", "bücher", "ß", "h\\x", "<h>"]
)
URLS = st.builds(
    lambda *parts: "".join(parts),
    st.just("http://"),
    st.just("") | TEXT.map(lambda text: f"{text}@"),
    HOSTS | TEXT,
    st.just("") | st.integers(-1, 70_000).map(lambda port: f":{port}"),
    st.just("") | TEXT.map(lambda text: f"/{text}"),
    st.just("") | TEXT.map(lambda text: f"?{text}"),
    st.just("") | TEXT.map(lambda text: f"#{text}"),
)
LONG = "a" * 70_000


def unknown(*_: Any, **__: Any) -> NoReturn:
    """Stand in for the system's resolver: no name is known."""
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


async def asked_for_the_mode(read: settings.Oms) -> Outcome:
    (base, *_) = read.oms_url
    address = Address(base)
    headers = {"Host": address.host_header}
    peer = Peer(address.origin, trust=no_trust(), headers=headers, seconds=1, max_body_bytes=1)
    return await peer.ask("GET", base.path + read.oms_mode_path, within=1)


@given(url=URLS, path=TEXT.map(lambda text: f"/{text}"))
@example(url="http://oms", path="/mödé")
@example(url="http://oms", path="/a#b")
@example(url="http://oms", path="/a b")
@example(url="http://oms", path=f"/{LONG}")
@example(url="http://1.2.3.999", path="/")
@example(url=f"http://oms/{LONG}", path="/")
def test_an_address_and_a_path_that_are_accepted_can_be_asked(url: str, path: str) -> None:
    """Nothing that the settings let through breaks what is sent."""
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(MisconfiguredError):
        patch.setattr(socket, "getaddrinfo", unknown)
        patch.setenv("OMS_URL", url)
        patch.setenv("OMS_MODE_PATH", path)
        read = settings.load(settings.Standby)
        assert isinstance(asyncio.run(asked_for_the_mode(read)), NoAnswer)
    redaction.forget_all()


@given(URLS)
@example(f"http://pagerduty/{LONG}")
@example(f"http://pagerduty/?{LONG}")
@example("http://1.2.3.999/")
@example("http://pagerduty/ä?ö#ü")
@example("http://¡/")
@example("http://xn--7a/")
def test_a_url_that_is_accepted_can_be_posted_to(url: str) -> None:
    """No page is lost to what is accepted."""
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(MisconfiguredError):
        patch.setattr(socket, "getaddrinfo", unknown)
        patch.setenv("PAGERDUTY_EVENTS_URL", url)
        endpoint = Endpoint(settings.load(settings.Alert).pagerduty_events_url, seconds=1)
        assert isinstance(asyncio.run(endpoint.post("{}", 1, decisive={202})), NoAnswer)
    redaction.forget_all()


SECRET = "zq81MARKxw"
SECRET_TEXT = st.builds(lambda before, after: f"{before}{SECRET}{after}", TEXT, TEXT)
SECRETS = {
    "OMS_ADMIN_TOKEN": SECRET_TEXT,
    "PAGERDUTY_ROUTING_KEY": SECRET_TEXT,
    "ALERT_FALLBACK_URL": SECRET_TEXT | SECRET_TEXT.map(lambda text: f"https://hooks/{text}"),
    "OMS_URL": SECRET_TEXT.map(lambda text: f"http://ada:{text}@oms"),
    "PAGERDUTY_EVENTS_URL": SECRET_TEXT.map(lambda text: f"https://ada:{text}@pagerduty/"),
}


@given(st.fixed_dictionaries({}, optional=SECRETS))
@example({"ALERT_FALLBACK_URL": f"https://ada:{SECRET}@h℀/"})
@example({"ALERT_FALLBACK_URL": f"https://ada:{SECRET}@[::1/"})
@example({"OMS_URL": f"http://ada:{SECRET}@h℀/"})
def test_no_secret_is_told_valid_or_not(variables: dict[str, str]) -> None:
    """Not by the settings, and not by what is wrong with them, the traceback included."""
    with pytest.MonkeyPatch.context() as patch:
        for name, text in variables.items():
            patch.setenv(name, text)
        try:
            read = settings.load(settings.AlertByPagerDuty)
            # An address that is spoken to is no secret as a whole; redaction knows its user info and query.
            said = repr(read.model_copy(update={"pagerduty_events_url": ""}))
        except MisconfiguredError as error:
            said = "".join(traceback.format_exception(error))
    redaction.forget_all()
    assert SECRET not in said


@given(st.dictionaries(READ, st.binary(), min_size=1))
def test_no_file_raises_anything_else(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    """Whatever is in it."""
    secrets = put(tmp_path_factory.mktemp("secrets"), files)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECRETS_DIR", secrets)
        try:
            settings.load(settings.AlertByPagerDuty)
        except MisconfiguredError as error:
            assert error.faults.keys() <= VARIABLES  # noqa: PT017
    redaction.forget_all()


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("OMS_ADMIN_TOKEN", SECRET),
        ("PAGERDUTY_ROUTING_KEY", SECRET),
        ("OMS_URL", f"http://oms,http://ada:{SECRET}@oms"),
        ("OMS_URL", f"ftp://ada:{SECRET}@oms"),
        ("PAGERDUTY_EVENTS_URL", f"https://pagerduty/?{SECRET}"),
        ("ALERT_FALLBACK_URL", f"https://a/b,https://hooks/services/{SECRET}"),
    ],
)
def test_a_secret_is_hidden_from_then_on(variable: str, text: str, loading: Loading) -> None:
    """Even where it could not be used."""
    with contextlib.suppress(MisconfiguredError):
        loading(command_that_reads(variable), **{variable: text})
    assert f"who is {redaction.HIDDEN}?" == redaction.redact(f"who is {SECRET}?")


def test_of_an_alertmanager_the_path_is_no_secret(loading: Loading) -> None:
    """Its base address is told; a webhook's is not."""
    address = "http://alertmanager:9093/prefix-of-it"
    loading(
        settings.AlertByPagerDuty,
        **REQUIRED,
        ALERT_FALLBACK_URL=address,
        ALERT_FALLBACK_FORMAT="alertmanager",
    )
    assert address == redaction.redact(address)


# --help


@pytest.mark.parametrize("kind", COMMANDS.values(), ids=COMMANDS)
def test_help_tells_every_variable_with_its_default_unit_and_meaning(kind: Kind) -> None:
    """Just those that the command reads, in the words of the tables above."""
    first, *blocks = settings.described(kind).split("\n\n")
    *variables, exit_codes = [block.splitlines() for block in blocks]
    assert first.startswith("variables (each can instead be a file of the same name in SECRETS_DIR")
    assert exit_codes[0].startswith("exit codes: 0 succeeded")
    assert [_headline(name.upper(), of.is_required()) for name, of in kind.model_fields.items()] == [
        lines[0].strip() for lines in variables
    ]
    assert [of.description for of in kind.model_fields.values()] == [
        " ".join(line.strip() for line in lines[1:]) for lines in variables
    ]
    assert all(len(line) <= 110 for line in settings.described(kind).splitlines())


def _headline(name: str, required: bool) -> str:  # noqa: FBT001
    default = f"default: {DEFAULTS[name]}" if DEFAULTS.get(name) else "unset"
    unit = {"SECONDS": ", seconds", "BYTES": ", bytes"}.get(name.rpartition("_")[2], "")
    return f"{name}  ({'required' if required else default}){unit}"


@pytest.mark.parametrize("kind", KINDS)
def test_every_variable_has_a_meaning_in_every_kind(kind: Kind) -> None:
    """Nobody has to guess."""
    assert all(of.description for of in kind.model_fields.values())
