"""The second way of a page through a real Alertmanager, whose own pages go to a PagerDuty that is played."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hooks.attempt import Answer
from hooks.paging.fallback import Fallback
from hooks.paging.incident import SYNC_FAILED, Page, links
from hooks.settings import Alert
from rehearsal.mock_oms import MockOms
from rehearsal.mock_pagerduty import DeliveryFaults, Incident, MockPagerDuty
from tests.conftest import Loading
from tests.daemon import answers, running, tool
from tests.hostile.process import Ending, Process, run
from tests.watching import PATIENCE, ROUTING_KEY, environment, eventually, free_address, get

OURS = "argocd-sync/run-1"
LABELS = {"application": "oms", "namespace": "argocd", "severity": "critical"}

# Short times, so that a test need not wait; and an alert without an end would be over after a second.
CONFIGURATION = """
global: {{resolve_timeout: 1s}}
route: {{receiver: on-call, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers:
- name: on-call
  pagerduty_configs:
  - routing_key: {routing_key}
    url: {url}
    severity: '{{{{ .CommonLabels.severity }}}}'
    description: '{{{{ .CommonLabels.alertname }}}}: {{{{ .CommonAnnotations.summary }}}}'
"""


@contextmanager
def alertmanager(folder: Path, pagerduty: MockPagerDuty, address: str, path: str = "") -> Iterator[str]:
    """Run an Alertmanager at this address and path that pages this PagerDuty; yield its base URL."""
    program = tool("prometheus-alertmanager", "prometheus-alertmanager")
    folder.mkdir(exist_ok=True)
    told = CONFIGURATION.format(routing_key=ROUTING_KEY, url=pagerduty.url)
    (folder / "configuration.yml").write_text(told)
    with running(
        folder,
        program,
        "--config.file=configuration.yml",
        "--storage.path=storage",
        f"--web.listen-address={address}",
        f"--web.external-url=http://{address}{path}/",
        "--cluster.listen-address=",
        is_ready=lambda: answers(address, f"{path}/-/ready"),
    ):
        yield f"http://{address}{path}"


@pytest.fixture
def paged() -> Iterator[MockPagerDuty]:
    """Be the PagerDuty of the Alertmanagers."""
    with MockPagerDuty() as pagerduty:
        yield pagerduty


@pytest.fixture
def refusing() -> Iterator[MockPagerDuty]:
    """Be the PagerDuty of the hooks: it does not know their key."""
    with MockPagerDuty() as pagerduty:
        pagerduty.faults = DeliveryFaults(status=400, body="Invalid routing key")
        yield pagerduty


@pytest.fixture
def base(tmp_path: Path, paged: MockPagerDuty) -> Iterator[str]:
    """Run one Alertmanager."""
    with free_address() as address, alertmanager(tmp_path / "alertmanager", paged, address) as base:
        yield base


@pytest.fixture
def oms() -> Iterator[MockOms]:
    """Be an OMS that is left in our standby."""
    with MockOms(start_mode="active") as oms:
        oms.replicas[0].operator("standby", OURS)
        yield oms


def alerts(base: str) -> list[dict[str, Any]]:
    """Return what an Alertmanager holds to be firing."""
    host, slash, prefix = base.removeprefix("http://").partition("/")
    status, body = get(host, f"{slash}{prefix}/api/v2/alerts?active=true")
    assert status == 200
    told: list[dict[str, Any]] = json.loads(body)
    return sorted(told, key=lambda alert: str(alert["labels"]["alertname"]))


def incidents(pagerduty: MockPagerDuty, name: str, status: str) -> list[Incident]:
    """Return the incidents of this alert that are in this state."""
    return [
        incident
        for incident in pagerduty.incidents.values()
        if incident.status == status and str(incident.history[0].summary).startswith(f"{name}: ")
    ]


def page(oms: MockOms, refusing: MockPagerDuty, *bases: str, **variables: str) -> Ending:
    """Run syncfail-alert to its end, with PagerDuty refusing and these Alertmanagers."""
    return run(
        "syncfail-alert",
        environment(oms.url, refusing.url)
        | {
            "ALERT_FALLBACK_URL": ",".join(bases),
            "ALERT_FALLBACK_FORMAT": "alertmanager",
            "ALERT_TIMEOUT_SECONDS": "20",
            "ARGOCD_URL": "https://argo.example",
        }
        | variables,
        within=10,
    )


def verify(oms: MockOms, refusing: MockPagerDuty, *bases: str) -> Ending:
    """Run postsync-verify to its end, with the same."""
    given = environment(oms.url, refusing.url, VERIFY_POLL_SECONDS="0.05")
    fallback = {"ALERT_FALLBACK_URL": ",".join(bases), "ALERT_FALLBACK_FORMAT": "alertmanager"}
    return run("postsync-verify", given | fallback, within=20)


def test_what_pagerduty_refuses_alertmanager_pages_and_a_good_sync_ends(
    base: str, oms: MockOms, refusing: MockPagerDuty, paged: MockPagerDuty
) -> None:
    """The whole chain: a page that fires, lasts beyond `resolve_timeout`, and is over when the OMS trades."""
    ending = page(oms, refusing, base)

    assert ending.code == 0
    assert ending.reason.startswith("the page was delivered to fallback, not to PagerDuty: 400")
    [alert] = alerts(base)
    assert alert["labels"] == {"alertname": "ArgoCDSyncFailed", **LABELS}
    assert "Argo CD sync failed" in alert["annotations"]["summary"]
    assert alert["generatorURL"] == "https://argo.example/applications/argocd/oms?operation=true"
    eventually(lambda: incidents(paged, "ArgoCDSyncFailed", "open"))
    [incident] = incidents(paged, "ArgoCDSyncFailed", "open")
    assert "in standby: not trading" in incident.summary

    # A second failure of the same Application is the same alert.
    assert page(oms, refusing, base).code == 0
    assert len(alerts(base)) == 1

    assert verify(oms, refusing, base).code == 0
    eventually(lambda: incidents(paged, "ArgoCDSyncFailed", "resolved"))
    assert alerts(base) == []
    assert len(paged.incidents) == 1


def test_all_alertmanagers_are_told(
    base: str, oms: MockOms, refusing: MockPagerDuty, paged: MockPagerDuty, tmp_path: Path
) -> None:
    """They do not share their alerts; one may live below a path, and one that is down costs the others nothing."""
    with (
        free_address() as nobody,
        free_address() as address,
        alertmanager(tmp_path / "second", paged, address, "/monitoring/am") as second,
    ):
        # Whoever does not listen is tried to the end.
        ending = page(oms, refusing, base, f"{second}/", f"http://{nobody}", ALERT_TIMEOUT_SECONDS="5")

        assert ending.code == 0
        assert "delivered to fallback 1 of 3 and fallback 2 of 3" in ending.reason.replace(
            "fallback 2 of 3 and fallback 1 of 3", "fallback 1 of 3 and fallback 2 of 3"
        )
        assert [len(alerts(one)) for one in (base, second)] == [1, 1]

        assert verify(oms, refusing, base, f"{second}/").code == 0
        eventually(lambda: [alerts(one) for one in (base, second)] == [[], []])


def watchdog(oms: MockOms, refusing: MockPagerDuty, base: str) -> Process:
    """Start the watchdog, with PagerDuty refusing and this Alertmanager."""
    quick = {
        "ALERT_FALLBACK_URL": base,
        "ALERT_FALLBACK_FORMAT": "alertmanager",
        "WATCH_LISTEN": "127.0.0.1:0",
        "WATCH_POLL_SECONDS": "0.05",
        "WATCH_STANDBY_SECONDS": "0.3",
        "WATCH_UNREADABLE_SECONDS": "0.3",
    }
    return Process("standby-watchdog", environment(oms.url, refusing.url) | quick)


def test_the_watchdogs_incidents_are_two_alerts(
    base: str, oms: MockOms, refusing: MockPagerDuty, paged: MockPagerDuty
) -> None:
    """Each fires and ends by itself, and neither is the one of a failed sync."""
    assert page(oms, refusing, base).code == 0
    with watchdog(oms, refusing, base):
        eventually(lambda: incidents(paged, "OmsInStandby", "open"))
        oms.replicas[0].restart(down_seconds=600)
        eventually(lambda: incidents(paged, "OmsUnreadable", "open"))
        assert [alert["labels"]["alertname"] for alert in alerts(base)] == [
            "ArgoCDSyncFailed",
            "OmsInStandby",
            "OmsUnreadable",
        ]
        assert {json.dumps(named(alert)) for alert in alerts(base)} == {json.dumps(LABELS)}

        oms.replicas[0].restart(start_mode="standby")
        oms.replicas[0].operator("standby", OURS)
        eventually(lambda: incidents(paged, "OmsUnreadable", "resolved"))
        assert [alert["labels"]["alertname"] for alert in alerts(base)] == [
            "ArgoCDSyncFailed",
            "OmsInStandby",
        ]

        oms.replicas[0].operator("active")
        eventually(lambda: incidents(paged, "OmsInStandby", "resolved"))
        assert [alert["labels"]["alertname"] for alert in alerts(base)] == ["ArgoCDSyncFailed"]


def named(alert: Mapping[str, Any]) -> dict[str, Any]:
    """Return the labels beside the alert's name."""
    return {name: value for name, value in alert["labels"].items() if name != "alertname"}


def test_a_watchdog_that_is_new_ends_what_an_earlier_one_left(
    base: str, oms: MockOms, refusing: MockPagerDuty, paged: MockPagerDuty
) -> None:
    """Alertmanager would keep it for a day."""
    with watchdog(oms, refusing, base):
        eventually(lambda: incidents(paged, "OmsInStandby", "open"))
    oms.replicas[0].operator("active")
    with watchdog(oms, refusing, base):
        eventually(lambda: incidents(paged, "OmsInStandby", "resolved"))


def test_an_alertmanager_that_comes_back_is_told(
    oms: MockOms, refusing: MockPagerDuty, paged: MockPagerDuty, tmp_path: Path
) -> None:
    """The watchdog tries it for ever as well."""
    with free_address() as address, watchdog(oms, refusing, f"http://{address}") as process:
        eventually(lambda: '"receiver": "fallback"' in process.told())
        with alertmanager(tmp_path / "late", paged, address):
            eventually(lambda: incidents(paged, "OmsInStandby", "open"))


ODD_PAGES = {
    "quotes and umlauts": {"application": 'ömß "quoted"\\', "summary": "sänk\n\t«—»"},
    "a name without end": {"application": 5000 * "x"},
    "a summary without end": {"summary": 100_000 * "ü"},
    "control characters": {"application": "a\x00b\x1b", "summary": "\x00\x07"},
    "a lone surrogate": {"application": "a\ud800", "summary": "\udfff"},
    "facts without end": {"facts": [10_000 * "x"] * 500},
    "no words at all": {},
}


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run one Alertmanager for all pages."""
    with (
        MockPagerDuty() as pagerduty,
        free_address() as address,
        alertmanager(tmp_path_factory.mktemp("alertmanager"), pagerduty, address) as base,
    ):
        yield base


@pytest.mark.parametrize("parts", ODD_PAGES.values(), ids=ODD_PAGES)
@pytest.mark.parametrize(
    "argocd",
    [
        "",
        "https://argo.example/cd/",
        "https://[2001:db8::1]:8443",
        "http://ärgo.example/tëam%20one",
        "https://u:p@argo.example/%2F?a=b&c=d#e",
    ],
)
async def test_alertmanager_takes_whatever_we_page(
    argocd: str, parts: dict[str, Any], standing: str, loading: Loading
) -> None:
    """No name, word or address of somebody else makes an alert that it refuses; its end is the end of the same."""
    given = loading(
        Alert,
        ALERT_FALLBACK_URL=standing,
        ALERT_FALLBACK_FORMAT="alertmanager",
        ARGOCD_URL=argocd,
        ARGOCD_APP_NAME="oms",
    )
    odd = replace(Page.about(given, SYNC_FAILED), links=links(given), **parts)
    fallback = Fallback(given, standing)
    before = len(alerts(standing))

    begun = await fallback.tell(odd, PATIENCE)
    assert isinstance(begun, Answer)
    assert begun.status == 200, begun
    assert len(alerts(standing)) == before + 1

    ended = await fallback.tell(odd, PATIENCE, ended=True)
    await fallback.aclose()
    assert isinstance(ended, Answer)
    assert ended.status == 200, ended
    eventually(lambda: len(alerts(standing)) == before)
