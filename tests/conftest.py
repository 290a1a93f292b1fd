"""What the tests of every room share: a clean environment, settings made of it, peers on loopback."""

import asyncio
import contextlib
import os
import ssl
from collections.abc import Iterator
from typing import Protocol, TypeVar

import hypothesis
import pytest
import structlog

from hooks import redaction, settings
from tests.hostile.certificates import Authorities
from tests.hostile.peer import Behaviour, Peer
from tests.network import Network

S = TypeVar("S", bound=settings.Logging)

# A busy machine is no fault of what is tested.
hypothesis.settings.register_profile(
    "unhurried",
    parent=hypothesis.settings.default,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("unhurried")


def _kinds(of: type[settings.Logging]) -> list[type[settings.Logging]]:
    return [of, *(kind for heir in of.__subclasses__() for kind in _kinds(heir))]


KINDS = _kinds(settings.Logging)
VARIABLES = frozenset(name.upper() for kind in KINDS for name in kind.model_fields)
OUTSIDE_SETTINGS = frozenset(
    {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD", "SSL_CERT_FILE", "SSL_CERT_DIR"}
)


@pytest.fixture(scope="session", autouse=True)
def _no_loop_but_those_of_tests() -> None:
    """Before synchronous tests, too, looptime asks which loop is current: one would be made and never closed."""
    asyncio.set_event_loop(None)


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variable that the hooks read is set, and nothing that one test configured outlives it."""
    for name in list(os.environ):
        if name.upper() in VARIABLES | OUTSIDE_SETTINGS:
            monkeypatch.delenv(name)
    redaction.forget_all()
    yield
    redaction.forget_all()
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


class Loading(Protocol):
    """Sets variables, and loads settings of one kind from all that are set."""

    def __call__(self, kind: type[S], **variables: str) -> S: ...


@pytest.fixture
def loading(monkeypatch: pytest.MonkeyPatch) -> Loading:
    """Load settings as a command does: from the environment, which stays set until the test ends."""

    def load(kind: type[S], **variables: str) -> S:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return settings.load(kind)

    return load


class Serving(Protocol):
    """Opens a peer that behaves as told."""

    def __call__(self, behaviour: Behaviour, *, tls: ssl.SSLContext | None = None) -> Peer: ...


@pytest.fixture
def serving() -> Iterator[Serving]:
    """Serve on loopback, any free port, until the test ends."""
    with contextlib.ExitStack() as peers:

        def serve(behaviour: Behaviour, *, tls: ssl.SSLContext | None = None) -> Peer:
            return peers.enter_context(Peer(behaviour, tls=tls))

        yield serve


@pytest.fixture(scope="session")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Authorities:
    """Certificate authorities of this run: a trusted one, and one that nobody trusts."""
    return Authorities.made_in(tmp_path_factory.mktemp("authorities"))


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """Stand in for the network: hold all that can be spoken to."""
    return Network(monkeypatch)
