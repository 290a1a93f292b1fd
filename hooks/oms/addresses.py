"""From OMS_URL to addresses: one name, several, or every address of a name, anew each round."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from ipaddress import ip_address

from hooks.settings import BaseUrl


@dataclass(frozen=True, slots=True)
class Address:
    """Where one target is: the base address, and for a pod behind a name the IP address to dial."""

    base: BaseUrl
    ip: str | None = None

    @property
    def host(self) -> str:
        return self.ip or self.base.host

    @property
    def origin(self) -> str:
        """Scheme, host and port to dial."""
        return f"{self.base.scheme}://{_bracketed(self.host)}:{self.base.port}"

    @property
    def label(self) -> str:
        """How it is called in logs and pages: host, port and base path."""
        return f"{_bracketed(self.host)}:{self.base.port}{self.base.path}"

    @property
    def host_header(self) -> str:
        default = {"http": 80, "https": 443}[self.base.scheme]
        suffix = "" if self.base.port == default else f":{self.base.port}"
        return f"{_bracketed(self.base.host)}{suffix}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True, slots=True)
class Resolution:
    """The addresses that there are now; with a problem they are not known to be all.

    `unknown` when DNS knows none of the names (EAI_NONAME).
    """

    addresses: tuple[Address, ...]
    problem: str | None = None
    unknown: bool = False


class Addresses:
    """The addresses of the OMS; with `every_pod` each base address stands for all that its name resolves to."""

    def __init__(self, bases: tuple[BaseUrl, ...], *, every_pod: bool) -> None:
        self._bases = bases
        self._every_pod = every_pod
        self._known: dict[BaseUrl, tuple[Address, ...]] = {}

    async def resolve(self, within: float) -> Resolution:
        """Look every name up, bounded by so many seconds; a name that fails keeps what it was last known for."""
        if not self._every_pod:
            return Resolution(tuple(Address(base) for base in self._bases))
        found = await asyncio.gather(*(self._look_up(base, within) for base in self._bases))
        problems = [problem for problem, _ in found if problem]
        addresses = (address for base in self._bases for address in self._known.get(base, ()))
        unknown = all(unknown for _, unknown in found)
        return Resolution(tuple(dict.fromkeys(addresses)), "; ".join(problems) or None, unknown)

    async def _look_up(self, base: BaseUrl, within: float) -> tuple[str | None, bool]:
        """Remember the addresses of one name; return the problem, and whether DNS does not know the name."""
        try:
            async with asyncio.timeout(within):
                found = await asyncio.get_running_loop().getaddrinfo(
                    base.host, base.port, type=socket.SOCK_STREAM
                )
        except TimeoutError:
            return f"{base.host} is not resolved within {within:.3g} s", False
        except OSError as error:
            # Not always a gaierror: the resolver may have no file descriptor left.
            unknown = isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME
            if unknown:
                self._known.pop(base, None)
            return f"{base.host} is not resolved ({(error.strerror or 'no answer').lower()})", unknown
        addresses = {str(sockaddr[0]) for *_, sockaddr in found}
        self._known[base] = tuple(Address(base, ip) for ip in sorted(addresses, key=_in_order))
        return None, False


def _in_order(ip: str) -> tuple[int, bytes]:
    address = ip_address(ip.partition("%")[0])
    return address.version, address.packed
