"""What stands round the hooks in a rehearsal: the OMS's replicas, PagerDuty, the cluster's DNS, people."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from rehearsal.argo import Sync
from rehearsal.fact import Fact, Tone
from rehearsal.mock_oms import Faults
from rehearsal.trading import Pause, pauses

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rehearsal.fact import Tell
    from rehearsal.job import Runner
    from rehearsal.manifests import Manifest, Secrets
    from rehearsal.mock_oms import MockOms, ModeChange, Replica
    from rehearsal.mock_pagerduty import MockPagerDuty

OLD, NEW = "1", "2"
# The Job controller takes 10 s.
POD_BACKOFF_SECONDS = 1.0
# How long a replica is gone while it is replaced.
DOWN_SECONDS = 0.15
STARTUP_SECONDS = 0.6
# How often the far ends are asked what happened; they tell when it did.
LOOK_SECONDS = 0.02
# Longer than anything that a scenario waits for.
AT_MOST_SECONDS = 20.0


class Stage:
    """The far ends of one scenario, and what Kubernetes and people do to them."""

    def __init__(
        self,
        jobs: list[Manifest],
        secrets: Secrets,
        *,
        oms: MockOms,
        oms_name: str,
        pagerduty: MockPagerDuty,
        runner: Runner,
        tell: Tell,
    ) -> None:
        self.oms = oms
        self.pagerduty = pagerduty
        self.sync = Sync(jobs, secrets, runner, tell, pod_backoff_seconds=POD_BACKOFF_SECONDS)
        self.new_faults = Faults()
        """What is wrong with the version that is rolled out."""
        self.kept: dict[str, str] = {}
        """Replica -> operator whose standby the OMS keeps in its database: it outlives a restart."""
        self._oms_name = oms_name
        self._runner = runner
        self._tell = tell
        self._installed = False
        self._first_change = 0

    @property
    def replicas(self) -> Mapping[str, Replica]:
        return {f"oms-{number}": replica for number, replica in enumerate(self.oms.replicas)}

    @property
    def port(self) -> int:
        """Listened on by all of them, as by the pods of a Service."""
        return self.oms.replicas[0].bound[1]

    def announce(self, *, installed: bool) -> None:
        """Let the cluster's DNS know the OMS, or not yet."""
        self._installed = installed
        hosts = [replica.bound[0] for replica in self.oms.replicas]
        self._runner.resolve({self._oms_name: hosts if installed else []})

    def histories(self) -> dict[str, tuple[ModeChange, ...]]:
        """Every change of mode of every replica, from its installation on."""
        if not self._installed:
            return {}
        return {name: replica.state.history[self._first_change :] for name, replica in self.replicas.items()}

    def pauses(self) -> dict[str, list[Pause]]:
        return {name: pauses(history) for name, history in self.histories().items()}

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that the far ends tell. Raises TimeoutError if it does not come."""
        async with asyncio.timeout(AT_MOST_SECONDS):
            while not condition():  # noqa: ASYNC110 - the far ends are threads and signal nothing
                await asyncio.sleep(LOOK_SECONDS)

    async def until_asked(self, name: str, times: int) -> None:
        """Wait until the replica has had so many more requests."""
        replica = self.replicas[name]
        already = len(replica.requests)
        await self.until(lambda: len(replica.requests) >= already + times)

    async def until_mode(self, name: str, mode: str) -> None:
        await self.until(lambda: self.replicas[name].state.mode == mode)

    # What Kubernetes does.

    async def roll_out(self) -> None:
        """Replace one replica after the other by the new version, each once the one before answers."""
        down = DOWN_SECONDS if self._installed else 0
        for name, replica in self.replicas.items():
            replica.faults = self.new_faults
            await self.restart(name, NEW, down_seconds=down)
        if not self._installed:
            # What came before is no OMS, only its addresses.
            self._first_change = 1
            self.announce(installed=True)
            self._tell(Fact(time.time(), "Kubernetes", "installs the OMS", "in standby, naming nobody"))

    async def restart(self, name: str, version: str, *, down_seconds: float, forgets: bool = False) -> None:
        """Replace one replica; one that `forgets` trades at once, as if nobody had ever asked it to stop."""
        replica = self.replicas[name]
        await asyncio.to_thread(
            replica.restart,
            version=version,
            startup_seconds=STARTUP_SECONDS,
            down_seconds=down_seconds,
            start_mode="active" if forgets else "standby",
        )
        await self.until(lambda: replica.state.mode != "down")
        if name in self.kept:
            replica.operator("standby", self.kept[name])

    # What people do.

    def begin(self, what: str) -> None:
        """Head what is no phase of the sync."""
        self._tell(Fact(time.time(), what, "begins", tone=Tone.PHASE))

    def operator(self, name: str, mode: str, who: str) -> None:
        """Let somebody switch a replica by hand, at the OMS itself."""
        self._tell(Fact(time.time(), who, f"switches {name} to {mode}", "by hand, at the OMS itself"))
        if mode == "standby":
            self.kept[name] = who
            self.replicas[name].operator("standby", who)
        else:
            self.kept.pop(name, None)
            self.replicas[name].operator("active", None)

    async def on_call(self, command: str, *arguments: str) -> None:
        """Let the on-call start a command, as with Argo CD's "Create Job"."""
        self.begin("On call")
        await self.sync.run_by_hand(command, *arguments)
