"""What is in the image, what is not, and what the engine and scanners know of it."""

from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from rehearsal.docker_runner import IMAGE
from tests.engine.container import docker

ROOT = Path(__file__).parents[2]
COMMANDS = ("presync-standby", "postsync-verify", "syncfail-alert", "return-to-active", "standby-watchdog")
LARGEST_COMPRESSED_BYTES = 30_000_000
SITE_PACKAGES = "opt/hooks/lib/python3.13/site-packages/"
PYC_UNCHECKED_HASH = 1


@pytest.fixture(scope="session")
def configuration(images: None) -> dict[str, Any]:
    """Return what the engine knows of the image."""
    config: dict[str, Any] = json.loads(docker("image", "inspect", IMAGE))[0]["Config"]
    return config


@pytest.fixture(scope="session")
def root(images: None) -> dict[str, tarfile.TarInfo]:
    """Return everything below the root of the image, by its path."""
    return {member.name: member for member in _exported().getmembers()}


@pytest.fixture(scope="session")
def archive(images: None) -> tarfile.TarFile:
    """Return the root of the image, to be read."""
    return _exported()


def _exported() -> tarfile.TarFile:
    container = docker("create", "--network", "none", IMAGE).strip()
    try:
        exported = subprocess.run(["docker", "export", container], capture_output=True, check=True).stdout
    finally:
        docker("rm", container)
    return tarfile.open(fileobj=io.BytesIO(exported))


def content(archive: tarfile.TarFile, name: str) -> bytes:
    """Read a file of the image."""
    file = archive.extractfile(name)
    assert file
    return file.read()


def inside(*command: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run something in the image without any network."""
    confined = ("--rm", "--network", "none", "--read-only", "--cap-drop", "ALL")
    return subprocess.run(
        ["docker", "run", *confined, *options, IMAGE, *command], capture_output=True, text=True, check=False
    )


def test_who_runs_it_and_what_it_runs(configuration: dict[str, Any]) -> None:
    """A number, which Kubernetes can tell from root; no entrypoint, so that a Job's command is all there is."""
    assert configuration["User"] == "65532:65532"
    assert configuration["Entrypoint"] is None
    assert configuration["Cmd"] == ["presync-standby", "--help"]
    assert configuration["Env"] == ["PATH=/opt/hooks/bin:/usr/local/bin:/usr/bin"]
    assert not configuration.get("ExposedPorts")
    assert not configuration.get("Volumes")


def test_its_labels_are_those_of_the_oci(configuration: dict[str, Any]) -> None:
    """Title, licence, version and the commit that it was built from."""
    prefix = "org.opencontainers.image."
    labels = {name.removeprefix(prefix): value for name, value in configuration["Labels"].items()}
    assert {"title", "description", "licenses", "version", "revision"} == labels.keys()
    assert labels["title"] == "argocd-standby-hooks"
    assert f'version = "{labels["version"]}"' in (ROOT / "pyproject.toml").read_text()
    assert re.fullmatch("[0-9a-f]{40}", labels["revision"])


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_starts_without_network_or_writable_root(command: str, images: None) -> None:
    """On PATH, by its name alone."""
    started = inside(command, "--version", options=("--memory", "64m", "--security-opt", "no-new-privileges"))
    assert (started.returncode, started.stdout, started.stderr) == (0, f"{command} 0.1.0\n", "")


@pytest.mark.parametrize("program", ["sh", "bash", "pip", "pip3", "uv", "apt-get", "dpkg", "openssl"])
def test_there_is_nothing_to_administer_with(program: str, root: dict[str, tarfile.TarInfo]) -> None:
    """No shell, no installer."""
    assert [name for name in programs(root) if name == program] == []


def test_every_program_is_python_or_ours(root: dict[str, tarfile.TarInfo]) -> None:
    """Nothing else can be executed but libraries."""
    assert programs(root) - {"python", "python3", "python3.13", ".dockerenv"} == set(COMMANDS)


def programs(root: dict[str, tarfile.TarInfo]) -> set[str]:
    """Name what can be executed, beside modules that are marked so, and what the engine adds."""
    return {
        PurePosixPath(name).name
        for name, member in root.items()
        if PurePosixPath(name).parent.name in {"bin", "sbin"}
        or (member.isfile() and member.mode & 0o111 and not re.search(r"^dev/|^etc/|\.py$|\.so\b", name))
    }


def test_what_runs_for_rehearsals_and_tests_is_not_in_it(root: dict[str, tarfile.TarInfo]) -> None:
    """Nor is anything that is for developing alone."""
    top = {name.removeprefix(SITE_PACKAGES).partition("/")[0] for name in root if SITE_PACKAGES in name}
    assert "hooks" in top
    assert top & {"rehearsal", "tests", "pip", "setuptools", "wheel", "hatchling", "pytest"} == set()


def test_what_is_installed_is_what_the_lock_says(root: dict[str, tarfile.TarInfo]) -> None:
    """Each with the metadata that scanners read, and nothing besides."""
    locked = re.findall(
        r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements" / "run.txt").read_text(), re.MULTILINE
    )
    installed = {
        name.removeprefix(SITE_PACKAGES).removesuffix(".dist-info/METADATA").replace("_", "-").lower()
        for name in root
        if name.endswith(".dist-info/METADATA")
    }
    assert {f"{name}-{version}" for name, version in locked} | {"argocd-standby-hooks-0.1.0"} == installed


def test_scanners_find_the_debian_packages(
    root: dict[str, tarfile.TarInfo], archive: tarfile.TarFile
) -> None:
    """Those that something was taken of, with their versions, and the release that they are of."""
    found = {PurePosixPath(name).name for name in root if name.startswith("var/lib/dpkg/status.d/")}
    assert {"libc6", "libssl3t64", "ca-certificates", "tzdata", "zlib1g"} <= found
    assert re.search(rb"^Version: \S+$", content(archive, "var/lib/dpkg/status.d/libc6"), re.MULTILINE)
    assert b"VERSION_ID=" in content(archive, "etc/os-release")


def test_every_module_has_its_bytecode_and_none_looks_at_a_clock(
    root: dict[str, tarfile.TarInfo], archive: tarfile.TarFile
) -> None:
    """By unchecked hash: nothing is compiled or compared at a start, and builds repeat."""
    missing, checked = [], []
    for name in (name for name in root if name.endswith(".py")):
        path = PurePosixPath(name)
        compiled = str(path.parent / "__pycache__" / f"{path.stem}.cpython-313.pyc")
        if compiled not in root:
            missing.append(name)
        elif int.from_bytes(content(archive, compiled)[4:8], "little") != PYC_UNCHECKED_HASH:
            checked.append(name)
    assert (missing, checked) == ([], [])


def test_authorities_are_looked_up_one_by_one_and_time_zones_are_there(images: None) -> None:
    """By the hash of their names, as hooks.attempt does; the bundle is there for who reads that."""
    ran = inside(
        "/opt/hooks/bin/python3",
        "-Ic",
        "import ssl, zoneinfo; from pathlib import Path\n"
        "paths = ssl.get_default_verify_paths()\n"
        "assert len(list(Path(paths.capath).glob('*.0'))) > 100\n"
        "trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
        "trust.load_verify_locations(cafile=paths.cafile)\n"
        "assert len(trust.get_ca_certs()) > 100\n"
        "print(zoneinfo.ZoneInfo('Europe/Berlin'))",
    )
    assert (ran.stdout, ran.stderr) == ("Europe/Berlin\n", "")


def test_every_module_of_the_hooks_can_be_imported(images: None) -> None:
    """Nothing that was left out of the standard library is wanted by them or what they use."""
    ran = inside(
        "/opt/hooks/bin/python3",
        "-Ic",
        "import pkgutil, importlib, hooks\n"
        "for module in pkgutil.walk_packages(hooks.__path__, 'hooks.'): importlib.import_module(module.name)\n"
        "import encodings.idna, zipfile, multiprocessing.connection",
    )
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_written_to_the_root_though_it_could_be(command: str, images: None) -> None:
    """As root on a writable root, a command leaves the image as it was."""
    container = docker("create", "--network", "none", "--user", "0", IMAGE, command, "--check").strip()
    try:
        subprocess.run(["docker", "start", "--attach", container], capture_output=True, check=False)
        assert docker("inspect", "--format", "{{.State.ExitCode}}", container).strip() == "2"
        assert docker("diff", container) == ""
    finally:
        docker("rm", "--force", container)


def test_compressed_it_is_small(images: None) -> None:
    """As it goes over the network, in all layers together."""
    saved = subprocess.run(["docker", "save", f"{IMAGE}:latest"], capture_output=True, check=True).stdout
    assert len(gzip.compress(saved, compresslevel=6)) < LARGEST_COMPRESSED_BYTES


def test_the_mock_shares_the_interpreter_and_holds_no_hooks(images: None) -> None:
    """Its layers but the last are those of the stage that both are built on."""
    layers = ["image", "inspect", "--format", "{{json .RootFS.Layers}}"]
    hooks, mock = (json.loads(docker(*layers, image)) for image in (IMAGE, "mock-oms"))
    assert hooks[0] == mock[0]
    assert len(mock) == 2
