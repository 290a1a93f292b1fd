"""A loop whose look-ups of names cannot starve one another, nor hold the process."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from hooks.resolving import ResolvingLoop

SOON = 30.0
FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]
UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class Resolver:
    """A name service that answers each name when it is told to, with what it is told."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.threads: list[threading.Thread] = []
        self._released: dict[str, threading.Event] = {}
        self._answers: dict[str, Exception] = {}

    def hang(self, name: str) -> None:
        self._released[name] = threading.Event()

    def release(self, name: str, answer: Exception | None = None) -> None:
        if answer:
            self._answers[name] = answer
        self._released[name].set()

    def fail(self, name: str, answer: Exception) -> None:
        self._answers[name] = answer

    def __call__(self, host: str, *rest: Any) -> Any:
        self.asked.append((host, *rest))
        self.threads.append(threading.current_thread())
        if host in self._released:
            assert self._released[host].wait(SOON)
        if host in self._answers:
            raise self._answers[host]
        return FOUND


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    """Stand in for the system's own; its threads have ended when the test has."""
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    yield resolver
    for thread in resolver.threads:
        thread.join(SOON)


@pytest.fixture
def loop() -> Iterator[ResolvingLoop]:
    """Run on a loop such as the commands run on; nothing may go unnoticed in it."""
    loop = ResolvingLoop()
    unnoticed: list[Any] = []
    loop.set_exception_handler(lambda _, context: unnoticed.append(context))
    yield loop
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert [] == unnoticed


def look_up(loop: ResolvingLoop, name: str, **hints: int) -> "asyncio.Future[Any]":
    """Begin to look up a name."""
    return asyncio.ensure_future(loop.getaddrinfo(name, 80, **hints), loop=loop)


def test_it_answers_as_the_system_does(loop: ResolvingLoop) -> None:
    """Hints and all."""
    found = loop.run_until_complete(
        loop.getaddrinfo(
            "127.0.0.1",
            80,
            family=socket.AF_INET,
            type=socket.SOCK_STREAM,
            proto=6,
            flags=socket.AI_NUMERICHOST,
        )
    )
    assert [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))] == found


def test_many_who_ask_the_same_at_the_same_time_ask_once(loop: ResolvingLoop, resolver: Resolver) -> None:
    """All of them get the answer."""
    resolver.hang("oms")
    everybody = asyncio.gather(*(look_up(loop, "oms") for _ in range(100)))
    loop.call_later(0.05, resolver.release, "oms")
    assert [FOUND] * 100 == loop.run_until_complete(everybody)
    assert [("oms", 80, 0, 0, 0, 0)] == resolver.asked


def test_another_question_is_asked_by_itself(loop: ResolvingLoop, resolver: Resolver) -> None:
    """Another name, and the same name otherwise."""

    async def ask() -> None:
        await asyncio.gather(
            look_up(loop, "oms"), look_up(loop, "pagerduty"), look_up(loop, "oms", family=socket.AF_INET6)
        )

    loop.run_until_complete(ask())
    assert {
        ("oms", 80, 0, 0, 0, 0),
        ("pagerduty", 80, 0, 0, 0, 0),
        ("oms", 80, socket.AF_INET6, 0, 0, 0),
    } == set(resolver.asked)


def test_who_asks_later_asks_anew(loop: ResolvingLoop, resolver: Resolver) -> None:
    """Nothing is kept: pods come and go."""
    for _ in range(2):
        assert loop.run_until_complete(look_up(loop, "oms")) == FOUND
    assert len(resolver.asked) == 2


def test_names_that_hang_delay_no_other(loop: ResolvingLoop, resolver: Resolver) -> None:
    """However many; the pager's name is looked up all the same."""
    names = [f"oms-{number}" for number in range(100)]
    for name in names:
        resolver.hang(name)
    hanging = asyncio.gather(*(look_up(loop, name) for name in names))
    assert loop.run_until_complete(look_up(loop, "pagerduty")) == FOUND
    assert not hanging.done()
    for name in names:
        resolver.release(name)
    assert [FOUND] * 100 == loop.run_until_complete(hanging)


def test_who_gives_up_takes_nothing_from_who_still_waits(loop: ResolvingLoop, resolver: Resolver) -> None:
    """The answer reaches the others."""
    resolver.hang("oms")

    async def ask() -> Any:
        patient = look_up(loop, "oms")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await loop.getaddrinfo("oms", 80)
        resolver.release("oms")
        return await patient

    assert loop.run_until_complete(ask()) == FOUND
    assert len(resolver.asked) == 1


def test_an_error_reaches_everybody_who_asked(loop: ResolvingLoop, resolver: Resolver) -> None:
    """And is not kept for who asks later."""
    resolver.hang("oms")
    everybody = asyncio.gather(*(look_up(loop, "oms") for _ in range(3)), return_exceptions=True)
    loop.call_later(0.05, resolver.release, "oms", UNKNOWN)
    assert [UNKNOWN] * 3 == loop.run_until_complete(everybody)
    with pytest.raises(socket.gaierror):
        loop.run_until_complete(look_up(loop, "oms"))
    assert len(resolver.asked) == 2


@pytest.mark.parametrize(
    "error", [UNKNOWN, UnicodeError("label too long"), OSError(24, "Too many open files")]
)
def test_any_error_reaches_who_asked(error: Exception, loop: ResolvingLoop, resolver: Resolver) -> None:
    """Not only a resolver's own."""
    resolver.fail("oms", error)
    with pytest.raises(type(error)) as raised:
        loop.run_until_complete(look_up(loop, "oms"))
    assert error is raised.value


@pytest.mark.parametrize("answer", [None, UNKNOWN], ids=["an answer", "an error"])
def test_what_nobody_waits_for_any_more_is_nobodys(
    answer: Exception | None, loop: ResolvingLoop, resolver: Resolver
) -> None:
    """An error that comes too late is no event, and the next one asks anew."""
    resolver.hang("oms")

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await loop.getaddrinfo("oms", 80)
        resolver.release("oms", answer)
        await loop.getaddrinfo("pagerduty", 80)
        while loop._questions:  # noqa: ASYNC110  # the thread's answer is on its way
            await asyncio.sleep(0.01)

    loop.run_until_complete(give_up())


@pytest.mark.parametrize("answer", [None, UNKNOWN], ids=["an answer", "an error"])
def test_an_answer_after_the_end_of_the_loop_disturbs_nobody(
    answer: Exception | None, resolver: Resolver
) -> None:
    """Its thread ends without a word, and would not have held the process."""
    loop = ResolvingLoop()
    resolver.hang("oms")

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await loop.getaddrinfo("oms", 80)

    loop.run_until_complete(give_up())
    loop.close()
    (thread,) = resolver.threads
    assert thread.daemon
    resolver.release("oms", answer)
    thread.join(SOON)
    assert not thread.is_alive()
