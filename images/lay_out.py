"""Lay out the root of the image: an interpreter and what it needs to run, from the image that this runs in.

    python3 lay_out.py ENVIRONMENT ROOT

ROOT gets the interpreter of ENVIRONMENT (a venv), its standard library with bytecode, every library that they and
ENVIRONMENT's extensions are linked with, certificates, time zones, and what a scanner reads to know all that.
"""

from __future__ import annotations

import argparse
import compileall
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from py_compile import PycInvalidationMode

# Of the standard library: what needs a terminal, a window or a database file, and what is for developing.
LEFT_OUT = (
    *("_pyrepl", "_tkinter.*", "curses", "_curses*", "idlelib", "readline.*", "tkinter", "turtle*"),
    *("dbm", "_dbm.*", "_gdbm.*", "sqlite3", "_sqlite3.*"),
    *("config-*", "ensurepip", "lib2to3", "pydoc_data", "test", "venv", "_test*", "_xxtest*", "xx*"),
    *("site-packages", "dist-packages", "__pycache__", "EXTERNALLY-MANAGED"),
)
ACCOUNTS = {
    "etc/passwd": "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n",
    "etc/group": "root:x:0:\nnonroot:x:65532:\n",
    # What hostAliases writes wins over the cluster's DNS, and a name may have several addresses there.
    "etc/nsswitch.conf": "hosts: files dns\n",
    "etc/host.conf": "multi on\n",
}
SYSTEM = ("/etc/os-release", "/etc/debian_version", "/etc/ssl/openssl.cnf", "/usr/share/zoneinfo")


def main() -> None:
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("environment", type=Path)
    command.add_argument("root", type=Path)
    options = command.parse_args()
    Root(options.root).fill(options.environment)


class Root:
    """The root as it grows; each file keeps its place."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._taken: set[Path] = set()
        for name in ("lib", "lib64"):
            # As in Debian; otherwise a library is there twice.
            (root / "usr" / name).mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to(f"usr/{name}")

    def fill(self, environment: Path) -> None:
        """Take all that a command installed in the environment needs, but not the environment itself."""
        library = Path(sysconfig.get_path("stdlib"))
        interpreter = environment / "bin" / "python3"
        self._take_links(interpreter)
        self._take(library)
        extensions = [*self._below(library).rglob("*.so"), *environment.rglob("*.so")]
        # Threads that end by pthread_exit load it then; without it that aborts the process.
        unwinder = Path("/usr/lib", sysconfig.get_config_var("MULTIARCH") or "", "libgcc_s.so.1")
        for linked in {unwinder, *linked_with([interpreter, *extensions])}:
            self._take(linked)
        for path in SYSTEM:
            self._take(Path(path))
        self._write_trust()
        for name, content in ACCOUNTS.items():
            self._write(name, content)
        self._write_packages()
        self._compile(library)

    def _below(self, path: Path) -> Path:
        return self._root / path.relative_to("/")

    def _write(self, name: str, content: str) -> None:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def _take_links(self, path: Path) -> None:
        """Take what a chain of links leads to, and each link that lies outside of the environment."""
        while path.is_symlink():
            path = path.parent / path.readlink()
            self._take(path)

    def _take(self, path: Path) -> None:
        """Copy a file, a link or a tree to the same place."""
        self._taken.add(path)
        target = self._below(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
        elif path.name.startswith("python"):
            shutil.copy2(path, target, follow_symlinks=False)
        else:
            # The soname is the name that is looked for; the file that it is a link to has another.
            shutil.copy2(path, target)

    def _write_trust(self) -> None:
        """Write the authorities by hash, to be looked up one by one, and as the one file that others expect."""
        certificates = self._root / "etc/ssl/certs"
        certificates.mkdir(parents=True)
        for path in Path("/etc/ssl/certs").glob("*.[0-9]"):
            shutil.copy(path, certificates)
        self._take(Path("/etc/ssl/certs/ca-certificates.crt"))
        defaults = self._root / "usr/lib/ssl"
        defaults.mkdir()
        (defaults / "certs").symlink_to("/etc/ssl/certs")
        (defaults / "cert.pem").symlink_to("/etc/ssl/certs/ca-certificates.crt")
        (defaults / "openssl.cnf").symlink_to("/etc/ssl/openssl.cnf")

    def _write_packages(self) -> None:
        """Say which Debian packages parts were taken of, where scanners look for it, and under which licence."""
        for package in {*packages_of(self._taken), "ca-certificates"}:
            name = package.partition(":")[0]
            self._write(f"var/lib/dpkg/status.d/{name}", run("dpkg-query", "--status", package))
            if (licence := Path("/usr/share/doc", name, "copyright")).exists():
                self._take(licence)

    def _compile(self, library: Path) -> None:
        compiled = compileall.compile_dir(
            self._below(library),
            quiet=1,
            stripdir=str(self._root),
            prependdir="/",
            # The same source makes the same bytes, and nothing is compared at each start.
            invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        )
        if not compiled:
            sys.exit(1)


def linked_with(files: Iterable[Path]) -> Iterator[Path]:
    """Name the libraries that the loader would load with these files, itself included."""
    for line in run("ldd", *map(str, files)).splitlines():
        if "not found" in line:
            sys.exit(line)
        if found := re.search(r"(?:=> |^\t)(/\S+) \(0x", line):
            yield Path(found[1])


def packages_of(paths: Iterable[Path]) -> Iterator[str]:
    """Name the Debian packages that these belong to; what belongs to none is not named."""
    # A library is looked for in /lib, and packaged in /usr/lib.
    spellings = {str(spelling) for path in paths for spelling in (path, path.resolve())}
    # Fails as soon as one path belongs to none, and has named the others.
    for line in run("dpkg", "--search", *spellings, check=False).splitlines():
        if not line.startswith("diversion by "):
            yield from line.rpartition(": ")[0].split(", ")


def run(*command: str, check: bool = True) -> str:
    return subprocess.run(command, check=check, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
