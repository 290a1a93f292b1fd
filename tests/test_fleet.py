"""All targets at once: who they are, round by round, and what was asked of them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable

import pytest

from hooks import settings
from hooks.attempt import Answer
from hooks.expression import Expression
from hooks.oms.documents import Look, Mode, State
from hooks.oms.fleet import Fleet, Requests
from hooks.oms.target import Target
from hooks.waiting import Deadline, now
from tests.conftest import Loading
from tests.network import (
    HEALTHY,
    Network,
    Oms,
    answered_late,
    answering,
    hung_up,
    in_turn,
    lost,
    silent,
    under_way,
)

pytestmark = pytest.mark.looptime(noop_cycles=3)

BODY = Expression('. as $reason | {"mode":"standby","reason":$reason}')


@pytest.fixture
def every_pod(loading: Loading) -> Fleet:
    """Be every address of the name oms, two at least."""
    return Fleet(loading(settings.Oms, OMS_URL="http://oms", OMS_EVERY_POD="true", OMS_MIN_TARGETS="2"))


def clock() -> float:
    """Tell how many seconds passed since the test began."""
    return asyncio.get_running_loop().time()


def labels(fleet: Fleet) -> list[str]:
    return [target.label for target in fleet.targets]


class TestWhoTheyAre:
    """From OMS_URL to targets, anew each round."""

    async def test_before_the_first_look_up_nobody_is_known(self, every_pod: Fleet) -> None:
        """And that is a problem."""
        assert ([], "not looked up yet", "not looked up yet") == (
            labels(every_pod),
            every_pod.problem,
            str(every_pod),
        )

    async def test_addresses_that_are_given_are_the_targets(self, network: Network, loading: Loading) -> None:
        """Whether anybody is there or not; no name is looked up for it."""
        fleet = Fleet(loading(settings.Oms, OMS_URL="http://oms-1,https://oms-2:8443/eu"))
        await fleet.resolve(Deadline(5))
        assert (["oms-1:80", "oms-2:8443/eu"], None, False) == (labels(fleet), fleet.problem, fleet.short)

    async def test_addresses_of_a_name_come_and_go(self, network: Network, every_pod: Fleet) -> None:
        """One that stays is the same target, with what is known of it; so is one that comes back."""
        network.add("oms", Oms(), Oms())
        await every_pod.resolve(Deadline(5))
        first, second = every_pod.targets
        network.names["oms"] = ["10.0.0.2", "10.0.0.3"]
        await every_pod.resolve(Deadline(5))
        assert (second, ["10.0.0.2:80", "10.0.0.3:80"]) == (every_pod.targets[0], labels(every_pod))
        network.names["oms"] = ["10.0.0.1"]
        await every_pod.resolve(Deadline(5))
        assert (first,) == every_pod.targets

    async def test_too_few_are_a_problem(self, network: Network, every_pod: Fleet) -> None:
        """They are named all the same."""
        network.add("oms", Oms())
        await every_pod.resolve(Deadline(5))
        assert (True, "1 of at least 2 addresses are there") == (every_pod.short, every_pod.problem)
        assert str(every_pod) == "10.0.0.1:80 was not read; 1 of at least 2 addresses are there"

    @pytest.mark.parametrize(
        ("failure", "problem", "known", "unknown_to_dns"),
        [
            pytest.param(
                socket.EAI_NONAME, "oms is not resolved (name or service not known)", [], True, id="unknown"
            ),
            pytest.param(
                socket.EAI_AGAIN,
                "oms is not resolved (temporary failure in name resolution)",
                ["10.0.0.1:80", "10.0.0.2:80"],
                False,
                id="failing",
            ),
            pytest.param(
                None, "oms is not resolved within 5 s", ["10.0.0.1:80", "10.0.0.2:80"], False, id="silent"
            ),
        ],
    )
    async def test_a_name_that_fails_is_a_problem_and_not_too_few(
        self,
        network: Network,
        every_pod: Fleet,
        failure: int | None,
        problem: str,
        known: list[str],
        unknown_to_dns: bool,  # noqa: FBT001
    ) -> None:
        """Those that were known stay, unless DNS says that there is no such name."""
        network.add("oms", Oms(), Oms())
        await every_pod.resolve(Deadline(60))
        network.names["oms"] = failure
        await every_pod.resolve(Deadline(60))
        assert (problem, known, unknown_to_dns, False) == (
            every_pod.problem,
            labels(every_pod),
            every_pod.unknown_to_dns,
            every_pod.short,
        )

    async def test_a_look_up_ends_with_the_time(self, network: Network, every_pod: Fleet) -> None:
        """A resolver that hangs cannot hold it past the deadline."""
        network.names["oms"] = None
        await every_pod.resolve(Deadline(2))
        assert (every_pod.problem, clock()) == ("oms is not resolved within 2 s", 2)

    async def test_those_that_are_gone_are_told_of_until_they_are_forgotten(
        self, network: Network, every_pod: Fleet
    ) -> None:
        """The verdict tells of all that were spoken to; a watch that lasts forgets them."""
        network.add("oms", Oms(), Oms())
        await every_pod.resolve(Deadline(5))
        network.names["oms"] = ["10.0.0.2"]
        await every_pod.resolve(Deadline(5))
        told = every_pod.observations()
        await every_pod.forget_gone()
        assert [{"10.0.0.1:80": {}, "10.0.0.2:80": {}}, {"10.0.0.2:80": {}}] == [
            told,
            every_pod.observations(),
        ]


class TestRoundsOfLooks:
    """All targets at the same time."""

    async def test_a_round_takes_as_long_as_the_slowest(self, network: Network, every_pod: Fleet) -> None:
        """Three answers of a second each take a second."""
        pods = [Oms(), Oms("standby"), Oms("draining")]
        for pod in pods:
            pod.mode_answer = answered_late(1, pod.tell_mode)
            pod.health_answer = answered_late(1, pod.tell_health)
        network.add("oms", *pods)
        await every_pod.resolve(Deadline(5))
        await every_pod.modes(every_pod.targets, Deadline(5))
        healths = await every_pod.healths(every_pod.targets, Deadline(5))
        assert [HEALTHY] * 3 == [health.document for health in healths.values()]
        assert (str(every_pod), clock()) == (
            "10.0.0.1:80 is active; 10.0.0.2:80 is standby; 10.0.0.3:80 is draining",
            2,
        )

    async def test_no_look_goes_on_past_the_deadline(self, network: Network, every_pod: Fleet) -> None:
        """One that stays silent is unread by then."""
        good, bad = Oms(), Oms()
        bad.mode_answer = silent
        network.add("oms", good, bad)
        await every_pod.resolve(Deadline(5))
        looks = await every_pod.modes(every_pod.targets, Deadline(2))
        assert ([True, False], 2) == ([look.mode is not None for look in looks.values()], clock())


def looked(targets: Iterable[Target]) -> dict[Target, Look]:
    """Return looks of this very moment: they need not be repeated."""
    return {target: Look(now(), Mode(State.ACTIVE, None, {})) for target in targets}


def due(_target: Target, _look: Look) -> bool:
    """Let every request go out."""
    return True


class TestRequests:
    """One kind of request: what was asked of each target, and what came of it."""

    @pytest.fixture
    async def fleet(self, network: Network, loading: Loading) -> Fleet:
        """Be two targets, oms-1 and oms-2."""
        fleet = Fleet(
            loading(settings.Oms, OMS_URL="http://oms-1,http://oms-2", OMS_ATTEMPT_TIMEOUT_SECONDS="2")
        )
        await fleet.resolve(Deadline(5))
        return fleet

    async def test_nothing_was_asked_at_first(self, fleet: Fleet) -> None:
        """Nothing has begun."""
        requests = Requests(BODY, "argocd-sync")
        assert (False, 0, None) == (requests.begun, requests.tries, requests[fleet.targets[0]].at)

    async def test_all_are_sent_at_the_same_time(self, network: Network, fleet: Fleet) -> None:
        """In our name; whoever refused is returned."""
        willing, refusing = Oms(), Oms()
        willing.switch_answer = under_way(1, willing.switch)
        refusing.switch_answer = under_way(1, answering(409, b"no"))
        network.add("oms-1", willing)
        network.add("oms-2", refusing)
        requests = Requests(BODY, 'argocd-sync/"1"')
        refusals = await requests.send(looked(fleet.targets), due, Deadline(5))
        assert refusals == {fleet.targets[1]: Answer(409, b"no")}
        assert [("standby", 'argocd-sync/"1"')] == willing.told == refusing.told
        assert (True, 2, 1) == (requests.begun, requests.tries, clock())

    async def test_whom_it_was_sent_to(self, network: Network, fleet: Fleet) -> None:
        """Those that were only looked at are not among them."""
        network.add("oms-1", Oms())
        network.add("oms-2", Oms())
        requests = Requests(BODY, "argocd-sync")
        requests.see(await fleet.modes(fleet.targets, Deadline(5)))
        await requests.send(looked(fleet.targets[1:]), due, Deadline(5))
        assert ["oms-2:80"] == requests.asked

    @pytest.mark.parametrize("port", ["closed", "silent"])
    async def test_what_cannot_have_arrived_has_not_begun(
        self, network: Network, fleet: Fleet, port: str
    ) -> None:
        """A connection that was never made."""
        oms = Oms()
        oms.port = port  # type: ignore[assignment]
        network.add("oms-1", oms)
        requests = Requests(BODY, "argocd-sync")
        refusals = await requests.send(looked(fleet.targets[:1]), due, Deadline(5))
        assert ({}, False, 1) == (refusals, requests.begun, requests.tries)

    async def test_a_name_that_is_not_known_has_not_begun_either(self, fleet: Fleet) -> None:
        """There was nobody to send it to."""
        requests = Requests(BODY, "argocd-sync")
        await requests.send(looked(fleet.targets[:1]), due, Deadline(5))
        assert not requests.begun

    async def test_what_may_have_arrived_once_may_have_arrived(self, network: Network, fleet: Fleet) -> None:
        """That the next one cannot have does not take it back."""
        oms = Oms()
        network.add("oms-1", oms)
        requests = Requests(BODY, "argocd-sync")
        oms.switch_answer = lost(oms.switch)
        await requests.send(looked(fleet.targets[:1]), due, Deadline(5))
        oms.port = "closed"
        await requests.send(looked(fleet.targets[:1]), due, Deadline(5))
        assert (True, 2) == (requests[fleet.targets[0]].may_have_arrived, requests[fleet.targets[0]].tries)

    @pytest.mark.parametrize("answer", [hung_up, silent, answering(500), answering(400)])
    async def test_whatever_is_not_known_may_have_arrived(
        self,
        network: Network,
        fleet: Fleet,
        answer: object,
    ) -> None:
        """Once it went out."""
        oms = Oms()
        oms.switch_answer = answer  # type: ignore[assignment]
        network.add("oms-1", oms)
        requests = Requests(BODY, "argocd-sync")
        await requests.send(looked(fleet.targets[:1]), due, Deadline(5))
        assert (True, None) == (requests.begun, requests[fleet.targets[0]].accepted_at)

    async def test_it_is_noted_before_it_is_sent(self, network: Network, fleet: Fleet) -> None:
        """Whoever is stopped while it is under way knows of it."""
        oms = Oms()
        oms.switch_answer = silent
        network.add("oms-1", oms)
        requests = Requests(BODY, "argocd-sync")
        sending = asyncio.ensure_future(requests.send(looked(fleet.targets[:1]), due, Deadline(5)))
        await asyncio.sleep(1)
        sending.cancel()
        assert requests.begun

    async def test_an_expression_may_build_anything(self, network: Network, fleet: Fleet) -> None:
        """What is sent is strict JSON, whatever the name is."""
        oms = Oms()
        oms.switch_answer = in_turn(answering(204))
        network.add("oms-1", oms)
        requests = Requests(Expression('{mode: "standby", reason: ., since: 1.5}'), "\ud800ü")
        await requests.send(looked(fleet.targets[:1]), due, Deadline(5))
        assert '{"mode":"standby","reason":"�ü","since":1.5}' == oms.requests[0].body.decode()
