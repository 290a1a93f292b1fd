"""One incident: its key, its words, and the limits that PagerDuty sets."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from hooks import redaction, settings, strict_json
from hooks.paging import incident
from hooks.paging.incident import Page
from rehearsal.mock_pagerduty import LARGEST_EVENT_BYTES, errors_in
from tests.conftest import Loading

KEY = "0123456789abcdef0123456789abcdef"
PAGE = Page(
    dedup_key="argocd-sync/argocd/oms",
    alert_name="ArgoCDSyncFailed",
    application="oms",
    namespace="argocd",
    severity="critical",
    source="argocd",
    component="oms",
    kind="argocd-sync-failed",
    summary="oms: Argo CD sync failed; oms-1:8080 is in standby: not trading",
)

NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
ANY_NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=400)
ANY_TEXT = st.text(st.characters(categories=["L", "N", "P", "S", "Z", "C"]))
DETAILS = st.dictionaries(
    ANY_TEXT,
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | ANY_TEXT,
        lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
        max_leaves=10,
    ),
)


def paged(**changed: Any) -> Page:
    """Return a page in which something is not as usual."""
    return replace(PAGE, **changed)


def variables(**given_ones: str) -> dict[str, str]:
    """Return the least environment in which both commands speak of an incident, and these variables."""
    return {"OMS_URL": "http://oms", "PAGERDUTY_ROUTING_KEY": KEY, "ARGOCD_APP_NAME": "oms"} | given_ones


def keys(environment: dict[str, str]) -> tuple[str, str]:
    """Return under which key the alert opens an incident, and under which the verification closes it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        alert, postsync = settings.load(settings.AlertByPagerDuty), settings.load(settings.Postsync)
    return incident.dedup_key(alert), incident.dedup_key(postsync)


@pytest.mark.parametrize(
    ("expected", "changed"),
    [
        pytest.param("argocd-sync/argocd/oms", {}, id="by default: namespace and application"),
        pytest.param(
            "argocd-sync/argo.example/argocd/oms",
            {"ARGOCD_URL": "https://Argo.example:8443/cd/"},
            id="the instance is the host of its address",
        ),
        pytest.param("argocd-sync/team-a/oms", {"ARGOCD_APP_NAMESPACE": "team-a"}, id="in another namespace"),
        pytest.param("our own", {"PAGERDUTY_DEDUP_KEY": "our own"}, id="as it is told"),
        pytest.param(255 * "k", {"PAGERDUTY_DEDUP_KEY": 255 * "k"}, id="as long as it may be"),
    ],
)
def test_the_key_names_the_application_unless_it_is_given(expected: str, changed: dict[str, str]) -> None:
    """What is opened under a key is closed under the same."""
    assert (expected, expected) == keys(variables(**changed))


def test_without_a_name_the_key_is_that_of_an_unknown_application(loading: Loading) -> None:
    """The alert pages all the same."""
    alert = loading(settings.AlertByPagerDuty, PAGERDUTY_ROUTING_KEY=KEY)

    assert incident.dedup_key(alert) == "argocd-sync/argocd/unknown"


@examples(max_examples=30, deadline=None)
@given(application=ANY_NAMES, namespace=ANY_NAMES, given_key=ANY_NAMES, instance=st.just("") | NAMES)
def test_trigger_and_resolve_share_one_key_within_the_limit(
    application: str, namespace: str, given_key: str, instance: str
) -> None:
    """Whatever the names are, the key is the same each time, and one that PagerDuty takes."""
    environment = variables(
        ARGOCD_APP_NAME=application or "oms",
        ARGOCD_APP_NAMESPACE=namespace,
        PAGERDUTY_DEDUP_KEY=given_key,
        ARGOCD_URL=instance and f"https://argo-{instance}",
    )
    if not application.strip():
        environment["ARGOCD_APP_NAME"] = "oms"

    opening, closing = keys(environment)

    assert opening == closing == keys(environment)[0]
    assert 1 <= len(opening) <= incident.LONGEST_DEDUP_KEY


@examples(max_examples=20, deadline=None)
@given(st.lists(st.tuples(NAMES, NAMES, NAMES), min_size=2, max_size=2, unique=True))
def test_no_two_applications_share_a_key(applications: list[tuple[str, str, str]]) -> None:
    """Instance, namespace and name tell them apart, also beyond the limit."""
    for padding in ("", 300 * "x"):
        one, other = (
            keys(
                variables(
                    ARGOCD_URL=f"https://argo-{instance}",
                    ARGOCD_APP_NAMESPACE=padding + space,
                    ARGOCD_APP_NAME=name,
                )
            )
            for instance, space, name in applications
        )
        assert one != other


def test_a_key_that_is_too_long_keeps_its_readable_head() -> None:
    """Somebody reads it in PagerDuty: only its tail becomes a hash."""
    opening, _ = keys(variables(PAGERDUTY_DEDUP_KEY="argocd-sync/" + 300 * "k"))

    assert len(opening) == 255
    assert opening.startswith("argocd-sync/" + 170 * "k")


@pytest.mark.parametrize(
    ("expected", "changed"),
    [
        pytest.param(None, {}, id="unknown without Argo CD's address"),
        pytest.param(
            "https://argo.example/applications/argocd/oms?operation=true",
            {"ARGOCD_URL": "https://argo.example"},
            id="shows the operation",
        ),
        pytest.param(
            "https://example/argo/applications/team%2Fa/o%20ms?operation=true",
            {
                "ARGOCD_URL": "https://example/argo/",
                "ARGOCD_APP_NAMESPACE": "team/a",
                "ARGOCD_APP_NAME": "o ms",
            },
            id="below a path, with odd names",
        ),
    ],
)
def test_where_argo_cd_shows_the_application(
    expected: str | None, changed: dict[str, str], loading: Loading
) -> None:
    """The address is a link in every page."""
    assert expected == incident.application_url(loading(settings.AlertByPagerDuty, **variables(**changed)))


def test_without_a_name_there_is_no_link_to_the_application(loading: Loading) -> None:
    """A link that leads nowhere helps nobody."""
    alert = loading(settings.AlertByPagerDuty, PAGERDUTY_ROUTING_KEY=KEY, ARGOCD_URL="https://argo.example")

    assert incident.application_url(alert) is None


def test_an_event_says_all_that_is_known() -> None:
    """Every field stands where PagerDuty looks for it."""
    page = paged(
        details={"application": "argocd/oms"},
        links={
            "Application": "https://argo.example/oms",
            "Runbook": "https://runbook.example/?page=oms",
        },
    )

    assert page.event() == {
        "event_action": "trigger",
        "dedup_key": "argocd-sync/argocd/oms",
        "payload": {
            "summary": "oms: Argo CD sync failed; oms-1:8080 is in standby: not trading",
            "source": "argocd",
            "severity": "critical",
            "component": "oms",
            "group": "argocd",
            "class": "argocd-sync-failed",
            "custom_details": {"application": "argocd/oms"},
        },
        "links": [
            {"href": "https://argo.example/oms", "text": "Application"},
            {"href": "https://runbook.example/?page=oms", "text": "Runbook"},
        ],
        "client": "Argo CD",
        "client_url": "https://argo.example/oms",
    }


def test_an_event_leaves_out_what_is_not_known() -> None:
    """No empty field, which PagerDuty might refuse."""
    page = paged(component=None)

    assert page.event() == {
        "event_action": "trigger",
        "dedup_key": "argocd-sync/argocd/oms",
        "payload": {
            "summary": "oms: Argo CD sync failed; oms-1:8080 is in standby: not trading",
            "source": "argocd",
            "severity": "critical",
            "group": "argocd",
            "class": "argocd-sync-failed",
            "custom_details": {},
        },
        "links": [],
    }


def test_the_minimal_event_has_what_an_event_must_have() -> None:
    """There is nothing in it to object to."""
    page = paged(details={"odd": 1}, links={"odd": "https://odd.example"})

    assert page.event(minimal=True) == {
        "event_action": "trigger",
        "dedup_key": "argocd-sync/argocd/oms",
        "payload": {
            "summary": "oms: Argo CD sync failed; oms-1:8080 is in standby: not trading",
            "source": "argocd",
            "severity": "critical",
        },
    }


def test_the_closing_event_has_the_key_alone() -> None:
    """It is all that PagerDuty needs to find the incident."""
    assert PAGE.resolve_event() == {"event_action": "resolve", "dedup_key": "argocd-sync/argocd/oms"}


@examples(deadline=None)
@given(ANY_TEXT)
def test_a_summary_is_one_printable_line_within_the_limit(summary: str) -> None:
    """It becomes a title, a text message and what a voice reads out."""
    told = paged(summary=f"oms: {60 * summary}").event()["payload"]["summary"]

    assert told.startswith("oms:")
    assert len(told) <= incident.LONGEST_SUMMARY
    assert told.isprintable()


@pytest.mark.parametrize(
    ("expected", "summary"),
    [
        pytest.param(1024 * "ä", 1024 * "ä", id="whole, at the limit in characters"),
        pytest.param(1023 * "ä" + "…", 1025 * "ä", id="cut beyond it, and shows that"),
        pytest.param("oms failed", " oms\r\n\x1bfailed\0\u2028", id="on one line"),
    ],
)
def test_a_long_summary_is_cut(expected: str, summary: str) -> None:
    """A longer one would be refused, and the page lost."""
    page = paged(summary=summary)

    assert expected == page.event()["payload"]["summary"]
    assert expected == page.event(minimal=True)["payload"]["summary"]
    assert expected == page.text()


def sent(page: Page) -> Any:
    """Return what PagerDuty gets of a page, held to its limits and rules."""
    body = strict_json.dump({"routing_key": KEY, **page.event()}).encode()
    assert len(body) <= LARGEST_EVENT_BYTES
    event = json.loads(body)
    assert errors_in(event) == []
    return event


@examples(max_examples=40, deadline=None)
@given(DETAILS)
def test_details_of_any_shape_are_taken(details: dict[str, Any]) -> None:
    """PagerDuty gets an event that it accepts, and no lone surrogate, whatever the OMS said."""
    assert strict_json.clean(details) == sent(paged(details=details))["payload"]["custom_details"]


MEBIBYTE = 1024 * 1024
DOCUMENT = {"status": "degraded", "sessions": [{"venue": "XETR", "state": "down"}] * 40}
OVERSIZED: dict[str, dict[str, Any]] = {
    "a text that is a little too long": {"notes": 505_000 * "x"},
    "a long text": {"notes": MEBIBYTE * "x"},
    "a long text of wide characters": {"notes": MEBIBYTE * "\N{BANK}"},
    "a long text of control characters": {"notes": MEBIBYTE * "\0"},
    "a document that is one long text": {"targets": {"oms-1": {"mode_document": {"log": MEBIBYTE * "x"}}}},
    "a document that is a long list": {"targets": {"oms-1": {"mode_document": list(range(200_000))}}},
    "a document with many names": {
        "targets": {"oms-1": {"mode_document": dict.fromkeys(map(str, range(99_999)))}}
    },
    "a document with a long name": {"targets": {"oms-1": {"mode_document": {MEBIBYTE * "n": 1}}}},
    "a long name": {MEBIBYTE * "n": {"a": {"b": 1}}},
    "many targets": {"targets": {f"oms-{number}": {"health_document": DOCUMENT} for number in range(500)}},
    "far too many targets": {
        "targets": {f"{number}{250 * 'n'}": {"mode": 200 * "x"} for number in range(2_500)}
    },
}


@pytest.mark.parametrize("details", [pytest.param(details, id=name) for name, details in OVERSIZED.items()])
def test_long_details_are_cut_never_refused(details: dict[str, Any]) -> None:
    """The event is within 512 KB however much the OMS said, and says that something is missing."""
    told = sent(paged(details=details))["payload"]["custom_details"]

    assert told
    assert details != told
    assert "…" in strict_json.dump(told) or "too long" in strict_json.dump(told)


def test_only_what_is_long_is_cut() -> None:
    """The document that floods the page does not take the others with it."""
    details = {
        "targets": {"oms-1": {"mode_document": {"log": MEBIBYTE * "x"}}, "oms-2": {"mode_document": DOCUMENT}}
    }

    told = sent(paged(details=details))["payload"]["custom_details"]["targets"]

    assert told["oms-2"] == {"mode_document": DOCUMENT}
    assert told["oms-1"]["mode_document"].startswith('{"log":"xxx')
    assert told["oms-1"]["mode_document"].endswith("xxx…")


def test_of_five_hundred_targets_each_is_still_told() -> None:
    """Cut means less of each document, not fewer targets."""
    told = sent(paged(details=OVERSIZED["many targets"]))["payload"]["custom_details"]

    assert OVERSIZED["many targets"]["targets"].keys() == told["targets"].keys()


@pytest.mark.parametrize("field", ["source", "component", "namespace", "kind"])
def test_no_variable_makes_an_event_too_large(field: str) -> None:
    """A file in SECRETS_DIR can be of any length; the page goes out all the same, the minimal one too."""
    page = paged(**{field: MEBIBYTE * "s"})

    sent(page)
    assert len(strict_json.dump(page.event(minimal=True))) < LARGEST_EVENT_BYTES


@pytest.mark.parametrize(
    ("expected", "name"),
    [
        pytest.param(
            {"Application": "https://argo.example/applications/argocd/oms?operation=true"}, "oms", id="both"
        ),
        pytest.param({}, 5000 * "o", id="not one that nobody could follow"),
    ],
)
def test_what_a_page_links_to(expected: dict[str, str], name: str, loading: Loading) -> None:
    """The Application and the runbook; a link of any length would make the event too large."""
    runbook = "https://runbook.example/?page=oms"
    given_ones = variables(ARGOCD_URL="https://argo.example", ARGOCD_APP_NAME=name, ALERT_RUNBOOK_URL=runbook)

    links = incident.links(loading(settings.AlertByPagerDuty, **given_ones))

    assert links == expected | {"Runbook": runbook}


def test_known_secrets_are_taken_out_of_summary_and_details_before_they_are_cut() -> None:
    """Neither whole nor in halves, in names neither; a runbook's link keeps its query."""
    redaction.hide("s3cr3t-t0k3n")
    page = paged(
        summary=1017 * "x" + "s3cr3t-t0k3n",
        details={
            "targets": {"oms-1": {"mode_document": {"s3cr3t-t0k3n": "is s3cr3t-t0k3n"}}},
            "notes": 65_530 * "x" + "s3cr3t-t0k3n" + 500_000 * "x",
        },
        facts=[495 * "x" + "s3cr3t-t0k3n", "s3cr3t-t0k3n"],
        links={"Runbook": "https://runbook.example/?s3cr3t-t0k3n"},
    )

    event = page.event()

    assert event["payload"]["summary"] == 1017 * "x" + "[redac…"
    assert event["payload"]["custom_details"]["targets"]["oms-1"]["mode_document"] == {
        "[redacted]": "is [redacted]"
    }
    assert "s3cr3" not in strict_json.dump(event["payload"])
    assert "s3cr3" not in page.text("to s3cr3t-t0k3n").replace(page.links["Runbook"], "")
    assert event["links"][0]["href"] == "https://runbook.example/?s3cr3t-t0k3n"


def test_the_text_for_a_chat_fits_on_a_screen() -> None:
    """Summary first, then who else was told, then each fact on a line that is not too long, then the links."""
    page = paged(
        facts=["oms-1:8080 is\nstandby\x1b[31m", 600 * "n"],
        details={"documents": "are for PagerDuty"},
        links={"Application": "https://argo.example/oms", "Runbook": "https://runbook.example/"},
    )

    assert page.text("PagerDuty has not taken this page").splitlines() == [
        "oms: Argo CD sync failed; oms-1:8080 is in standby: not trading",
        "PagerDuty has not taken this page",
        "oms-1:8080 is standby [31m",
        499 * "n" + "…",
        "Application: https://argo.example/oms",
        "Runbook: https://runbook.example/",
    ]


@examples(max_examples=40, deadline=None)
@given(st.lists(ANY_TEXT, max_size=30), ANY_TEXT)
def test_a_text_for_a_chat_has_few_lines_whatever_is_told(facts: list[str], note: str) -> None:
    """What an OMS said in many lines is told in one."""
    text = paged(facts=facts).text(note)

    assert text.startswith(PAGE.summary)
    assert len(text.split("\n")) <= 2 + len(facts)
    assert all(line.isprintable() for line in text.split("\n"))
