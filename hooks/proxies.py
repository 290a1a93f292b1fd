"""Which proxy of the environment a URL is spoken to through; what cannot be used is told, never raised."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_network
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from hooks import redaction
from hooks.settings import http_url

_HOST_PATTERN = re.compile(r"\*|\.?(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?(:\d+)?")


@dataclass(frozen=True)
class Route:
    """The way to a peer: straight when `proxy` is None; `faults` maps variables to what is wrong with them."""

    proxy: str | None
    faults: dict[str, str]


def route(url: str) -> Route:
    """Find the way to a URL: the variable of its scheme, else ALL_PROXY, unless NO_PROXY names its host."""
    variables = getproxies_environment()
    parts = urlsplit(url)
    faults = _no_proxy_faults(variables.get("no", ""))
    if proxy_bypass_environment(parts.netloc.rpartition("@")[2], variables):
        return Route(None, faults)
    for kind in (parts.scheme, "all"):
        proxy = variables.get(kind)
        if not proxy:
            continue
        redaction.hide_url(proxy, path=False)
        try:
            proxy.encode("ascii")
            return Route(http_url(proxy if "://" in proxy else f"http://{proxy}"), faults)
        except ValueError:
            faults[f"{kind.upper()}_PROXY"] = "is not an http(s) proxy: it is not used"
    return Route(None, faults)


def _no_proxy_faults(listed: str) -> dict[str, str]:
    entries = [entry.strip() for entry in listed.split(",")]
    odd = [entry for entry in entries if entry and not _is_host(entry)]
    return {"NO_PROXY": f"has entries that name no host: {', '.join(odd)[:100]}"} if odd else {}


def _is_host(entry: str) -> bool:
    if _HOST_PATTERN.fullmatch(entry):
        return True
    try:
        return bool(ip_network(entry, strict=False))
    except ValueError:
        return False
