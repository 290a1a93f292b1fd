"""One request and its answer, bounded in time and in size; the only import of httpx.

An attempt knows nothing of retries, and its outcome is a value: an Answer, or NoAnswer and why. It follows
no redirect, keeps no cookie and takes no proxy that it was not given.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import zlib
from collections.abc import Container, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

import httpx

from hooks.log import logger
from hooks.redaction import printable, redact

USER_AGENT = "argocd-standby-hooks"
_QUOTED = 200


class Failure(Enum):
    """Why there is no answer."""

    UNKNOWN_NAME = auto()  # EAI_NONAME: DNS says that the name does not exist
    UNRESOLVED = auto()  # any other fault of the resolver
    UNREACHABLE = auto()
    UNTRUSTED = auto()  # the certificate does not verify
    TIMED_OUT = auto()
    BROKEN = auto()  # reset, or not HTTP


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The peer did not answer; `may_have_arrived` when it can have got the request nevertheless."""

    failure: Failure
    detail: str
    may_have_arrived: bool = True

    def __str__(self) -> str:
        return self.detail


@dataclass(frozen=True, slots=True)
class Answer:
    """What a peer answered; `fault` says why the body could not be read, or not to its end."""

    status: int
    body: bytes = b""
    retry_after: str | None = None
    fault: str | None = None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def __str__(self) -> str:
        """Quote status and first line of the body, printable and short, no secret in it."""
        for line in redact(self.body.decode("utf-8", "replace")).splitlines():
            text = printable(line).strip()
            if text:
                return f"{self.status} {text[:_QUOTED]}{'…' if len(text) > _QUOTED else ''}"
        return str(self.status)


Outcome = Answer | NoAnswer


class Peer:
    """One address that is spoken to, with its own connections, and the bounds of every attempt."""

    def __init__(
        self,
        origin: str,
        *,
        trust: ssl.SSLContext,
        headers: Mapping[str, str] | None = None,
        tls_name: str | None = None,
        proxy: str | None = None,
        seconds: float,
        max_body_bytes: int,
    ) -> None:
        """Speak to `origin` (scheme, host and port); `tls_name` is the name that its certificate must bear.

        Raises ValueError when the origin is no address.
        """
        try:
            self._origin = httpx.URL(origin)
        except httpx.InvalidURL as error:
            raise ValueError(str(error)) from None
        self._urls: dict[str, httpx.URL] = {}  # few paths, asked again and again
        self._headers = {
            # Given, so that httpx does not decode an international name by other rules than the resolver's.
            "Host": origin.partition("://")[2],
            "User-Agent": USER_AGENT,
            "Accept-Encoding": "identity",
            **(headers or {}),
        }
        self._extensions = {"sni_hostname": tls_name} if tls_name else {}
        self._seconds = seconds
        self._max_body_bytes = max_body_bytes
        self._transport = httpx.AsyncHTTPTransport(
            verify=trust,
            trust_env=False,
            proxy=_through(proxy, trust) if proxy else None,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=30),
        )

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: str | None = None,
        within: float,
        decisive: Container[int] = (),
    ) -> Outcome:
        """Send one request, bounded as a whole by the peer's time-out and by `within`, in seconds.

        Of an answer with a `decisive` status the body is not waited for: it may be anything.
        """
        bound = max(0.0, min(self._seconds, within))
        progress = _Progress()
        request = self._request(method, path, body, progress)
        response: httpx.Response | None = None
        text = bytearray()
        fault: str | None = None
        try:
            async with asyncio.timeout(bound):
                response = await self._transport.handle_async_request(request)
                async with aclosing(response):
                    if response.status_code not in decisive:
                        fault = await self._read(response, text)
        except TimeoutError:
            fault = f"not answered within {bound:.3g} s"
            if response is None:
                return NoAnswer(Failure.TIMED_OUT, fault, progress.begun)
        except (httpx.RequestError, OSError) as error:
            no_answer = _no_answer(error, progress.begun)
            if response is None:
                return no_answer
            fault = f"broke off: {no_answer.detail}"
        finally:
            await progress.close_half_open()
        await self._drop_what_nobody_asked_for()
        return Answer(response.status_code, bytes(text), response.headers.get("retry-after"), fault)

    async def _drop_what_nobody_asked_for(self) -> None:
        """Close a kept connection on which more came than one answer: it would be taken for the next one.

        httpcore itself drops one whose socket has something to read, but not what h11 has read already.
        """
        for connection in self._transport._pool.connections:  # noqa: SLF001  # there is no other way to it
            h11_state = getattr(getattr(connection, "_connection", None), "_h11_state", None)
            if h11_state is not None and connection.is_idle() and h11_state.trailing_data[0]:
                await connection.aclose()

    def _request(self, method: str, path: str, body: str | None, progress: _Progress) -> httpx.Request:
        url = self._url(path)
        extensions = {**self._extensions, "trace": progress.note}
        if body is None:
            return httpx.Request(method, url, headers=self._headers, extensions=extensions)
        return httpx.Request(
            method,
            url,
            headers={**self._headers, "Content-Type": "application/json"},
            content=body.encode(),
            extensions=extensions,
        )

    def _url(self, path: str) -> httpx.URL:
        if path not in self._urls:
            try:
                self._urls[path] = self._origin.copy_with(raw_path=path.encode())
            except httpx.InvalidURL as error:
                raise ValueError(str(error)) from None
        return self._urls[path]

    async def _read(self, response: httpx.Response, text: bytearray) -> str | None:
        """Read the body into `text`, bounded also after decompression; return what is wrong with it."""
        coding = response.headers.get("content-encoding", "identity").strip().lower()
        if coding not in {"identity", "gzip", "x-gzip", "deflate", ""}:
            return f"coded as {redact(coding)[:20]!r}, which was not asked for"
        # 32: the header tells gzip from zlib.
        inflater = None if coding in {"identity", ""} else zlib.decompressobj(32 + zlib.MAX_WBITS)
        try:
            async for chunk in response.aiter_raw():
                room = self._max_body_bytes + 1 - len(text)
                text += inflater.decompress(chunk, room) if inflater else chunk[:room]
                if len(text) > self._max_body_bytes:
                    return f"longer than {self._max_body_bytes} bytes"
        except zlib.error:
            return "badly compressed"
        return "compressed and cut short" if inflater and not inflater.eof else None

    async def aclose(self) -> None:
        """Close the connections that are kept."""
        await self._transport.aclose()


def _through(proxy: str, trust: ssl.SSLContext) -> httpx.Proxy:
    """Return a proxy whose own certificate, if it has one, is trusted as the peer's is."""
    return httpx.Proxy(proxy, ssl_context=trust if proxy.startswith("https:") else None)


class _Progress:
    """How far an attempt has come, by httpcore's own account of it."""

    begun = False
    """Whether the request had begun to go out: from then on it may have arrived, whatever comes back."""

    _half_open: Any = None

    async def note(self, event: str, facts: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._half_open = facts["return_value"]
        elif event in {"connection.start_tls.complete", "http11.send_request_headers.started"}:
            self._half_open = None
        if event == "http11.send_request_headers.started":
            self.begun = True

    async def close_half_open(self) -> None:
        """Close a connection whose handshake was cut short: httpcore leaves it to the collector, which is off."""
        if self._half_open is not None:
            await self._half_open.aclose()


def _no_answer(error: Exception, may_have_arrived: bool) -> NoAnswer:  # noqa: FBT001
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            detail = f"its certificate does not verify: {cause.verify_message}"
            return NoAnswer(Failure.UNTRUSTED, detail, may_have_arrived=False)
        if isinstance(cause, socket.gaierror):
            unknown = cause.errno == socket.EAI_NONAME
            failure = Failure.UNKNOWN_NAME if unknown else Failure.UNRESOLVED
            return NoAnswer(failure, _resolver_words(cause), may_have_arrived=False)
    detail = next((words for cause in reversed(causes) if (words := _words(cause))), type(error).__name__)
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return NoAnswer(Failure.UNREACHABLE, detail, may_have_arrived=False)
    return NoAnswer(Failure.BROKEN, detail, may_have_arrived)


def _causes(error: BaseException) -> Iterator[BaseException]:
    yield error
    if isinstance(error, BaseExceptionGroup):
        yield from _causes(error.exceptions[0])
    if following := error.__cause__ or error.__context__:
        yield from _causes(following)


def _resolver_words(error: socket.gaierror) -> str:
    return f"its name is not resolved: {(error.strerror or 'no answer').lower()}"


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno).lower()
    return printable(redact(str(error)))[:_QUOTED]


def system_trust() -> ssl.SSLContext:
    """Trust what SSL_CERT_FILE names, or what the system trusts.

    A hashed directory is looked up authority by authority; reading the bundle takes 20 ms.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    paths = ssl.get_default_verify_paths()
    if paths.cafile and paths.cafile != paths.openssl_cafile:
        try:
            context.load_verify_locations(cafile=paths.cafile)
        except OSError as error:
            logger().warning("ssl_cert_file_not_usable", reason=_words(error))
        else:
            return context
    if paths.capath and next(Path(paths.capath).glob("*.0"), None):
        context.load_verify_locations(capath=paths.capath)
    elif Path(paths.openssl_cafile).exists():
        context.load_verify_locations(cafile=paths.openssl_cafile)
    return context


def no_trust() -> ssl.SSLContext:
    """Trust nobody: for peers that are spoken to without TLS, where loading trust would cost time."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
