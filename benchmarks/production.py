"""The commands as the image has them: the wheel and its locked packages, in an environment of their own.

The development's own packages would be measured too: where rich and click are installed, `import httpx` imports
its command line with them.
"""

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLACE = ROOT / "build" / "bench"
BIN = PLACE / "bin"


def install() -> None:
    """Bring the environment up to date with the tree.

    Raises RuntimeError with all that was said if an installation fails.
    """
    python = BIN / "python"
    if not python.exists():
        venv.create(PLACE, symlinks=True)
    _run("hatchling", "build", "-t", "wheel", "-d", str(PLACE / "wheel"))
    install = ("pip", "--python", str(python), "--disable-pip-version-check", "install", "--quiet")
    _run(*install, "--require-hashes", "--requirement", str(ROOT / "requirements" / "run.txt"))
    _run(*install, "--no-deps", "--force-reinstall", *map(str, (PLACE / "wheel").glob("*.whl")))


def _run(module: str, *arguments: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, check=False, capture_output=True, text=True
    )
    if ran.returncode:
        raise RuntimeError(
            f"{module} {' '.join(arguments)} exited {ran.returncode}:\n{ran.stdout}{ran.stderr}"
        )
