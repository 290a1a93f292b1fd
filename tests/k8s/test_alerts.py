"""The alerts of the watchdog's PrometheusRule fire when they must, and only then: played by Prometheus itself."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.k8s import tools
from tests.k8s.tree import Tree, of_kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from rehearsal.manifests import Manifest

TESTS = Path(__file__).with_name("alerts_test.yaml")
METRICS = Path(__file__).resolve().parents[2] / "hooks" / "metrics.py"


def _rule(tree: Tree) -> Manifest:
    (rule,) = of_kind(tree.rendered("k8s/watchdog"), "PrometheusRule")
    return rule


def _promtool(directory: Path, tree: Tree, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = tools.program("promtool", install="apt-get install prometheus")
    (directory / "alerts.yaml").write_text(yaml.safe_dump(_rule(tree)["spec"]))
    (directory / "alerts_test.yaml").write_text(TESTS.read_text())
    return subprocess.run([program, *arguments], cwd=directory, capture_output=True, text=True, check=False)


def test_the_rules_are_prometheus_rules(shipped: Tree, tmp_path: Path) -> None:
    """Prometheus would load them."""
    checked = _promtool(tmp_path, shipped, "check", "rules", "alerts.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_alert_fires_when_it_must(shipped: Tree, tmp_path: Path) -> None:
    """Each alert fires in its story, not before its time, and stays silent while all is well."""
    played = _promtool(tmp_path, shipped, "test", "rules", "alerts_test.yaml")
    assert played.returncode == 0, played.stdout + played.stderr


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("absent(up{", "(up{", id="a watchdog that is gone altogether"),
        pytest.param("> 1200", "> 3600", id="an hour in standby"),
        pytest.param('owner!="somebody else"', 'owner=~".+"', id="an operator's standby"),
        pytest.param("max(oms_last_read", "min(oms_last_read", id="one replica that cannot be read"),
        pytest.param("for: 40m", "for: 10m", id="a long sync that ends"),
        pytest.param('phase=~"Error|Failed"', 'phase="Error"', id="a sync that was terminated"),
    ],
)
def test_a_broken_rule_is_found_out(
    changed: Callable[[str, str, str], Tree], tmp_path: Path, old: str, new: str
) -> None:
    """The stories tell when a rule no longer does."""
    played = _promtool(
        tmp_path, changed("k8s/watchdog/alerts.yaml", old, new), "test", "rules", "alerts_test.yaml"
    )
    assert played.returncode == 1, played.stdout + played.stderr


def test_every_alert_has_a_story(shipped: Tree) -> None:
    """No alert is shipped that was never seen to fire."""
    alerts = {rule["alert"] for group in _rule(shipped)["spec"]["groups"] for rule in group["rules"]}
    fired = {
        case["alertname"]
        for story in yaml.safe_load(TESTS.read_text())["tests"]
        for case in story["alert_rule_test"]
        if case.get("exp_alerts")
    }
    assert alerts == fired


def test_the_alerts_ask_for_metrics_that_the_watchdog_has(shipped: Tree) -> None:
    """A metric that was renamed would leave an alert silent for ever."""
    asked = set(re.findall(r"\b(?:oms|standby_watchdog)_\w+", yaml.safe_dump(_rule(shipped)["spec"])))
    # A counter's name ends with _total when it is read.
    served = set(re.findall(r'"((?:oms|standby_watchdog)_\w+)"', METRICS.read_text()))
    assert {name.removesuffix("_total") for name in asked} <= served
