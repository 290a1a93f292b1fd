"""Certificates, good and bad, of authorities that exist for one test run."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Authorities:
    """The one that the commands are told to trust, and one that nobody trusts."""

    trusted: trustme.CA
    unknown: trustme.CA
    folder: Path

    @classmethod
    def made_in(cls, folder: Path) -> Self:
        """Make both, and leave the trusted one's certificate in `folder`."""
        authorities = cls(trustme.CA(), trustme.CA(), folder)
        authorities.trusted.cert_pem.write_to_path(authorities.ca_file)
        return authorities

    @property
    def ca_file(self) -> Path:
        """The trusted authority's certificate."""
        return self.folder / "ca.pem"

    def server(self, *names: str) -> ssl.SSLContext:
        """Return a server of these names that the commands trust."""
        return _serving(self.trusted.issue_cert(*(names or ("127.0.0.1",))))

    def server_of_unknown(self) -> ssl.SSLContext:
        """Return a server whose authority nobody told the commands of."""
        return _serving(self.unknown.issue_cert("127.0.0.1"))

    def server_that_expired(self) -> ssl.SSLContext:
        """Return a server whose certificate was good until yesterday."""
        now = datetime.now(UTC)
        return _serving(
            self.trusted.issue_cert(
                "127.0.0.1", not_before=now - timedelta(days=30), not_after=now - timedelta(days=1)
            )
        )

    def server_that_asks_back(self) -> ssl.SSLContext:
        """Return a server that speaks only to holders of a certificate of the trusted authority."""
        context = self.server()
        context.verify_mode = ssl.CERT_REQUIRED
        self.trusted.configure_trust(context)
        return context

    def client_files(self, folder: Path, *, password: bytes | None = None) -> tuple[Path, Path]:
        """Write a client's certificate and its key, encrypted when there is a password; return their paths."""
        issued = self.trusted.issue_cert("client.test")
        certificate, key = folder / "client.pem", folder / "client.key"
        certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        if password:
            plain = load_pem_private_key(key.read_bytes(), None)
            key.write_bytes(
                plain.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password))
            )
        return certificate, key


def _serving(issued: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    return context
