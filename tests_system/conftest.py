"""Tests that need root, system packages or the npm registry. What cannot be installed is said in one sentence and skipped."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import cheap_passwords, cluster  # noqa: F401 - fixtures
from tests.peers.fixtures import model_host, model_server  # noqa: F401 - fixtures
from tests.site import seeded, seeded_urls, site  # noqa: F401 - fixtures

NPM_PACKAGES = ("@ag-ui/client@1.0.0", "ai@7", "@modelcontextprotocol/sdk@1")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "rule(*ids): as in tests/rule_matrix.py; tests here import modules that use it")


@pytest.fixture(scope="session")
def nginx_binary() -> str:
    """The real nginx, installed by apt if need be."""
    return apt_installed("nginx", "nginx")


def apt_installed(program: str, *packages: str) -> str:
    """The path of `program`, whose Debian packages are installed if need be; the test is skipped, saying why, when that cannot be."""
    if (found := which(program)) is not None and all(_unpacked(package) for package in packages):
        return found
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip(f"{program} is not installed, and installing it needs root and apt-get")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(["apt-get", *command], env=environment, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            pytest.skip(f"apt-get {command[0]} failed: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    found = which(program)
    assert found is not None
    return found


def which(program: str) -> str | None:
    """Daemons lie in /usr/sbin, which is not in everybody's path."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin")


def _unpacked(package: str) -> bool:
    """Whether Debian's package is there; true where there is no dpkg: then the program itself is all that counts."""
    dpkg = shutil.which("dpkg")
    return dpkg is None or subprocess.run([dpkg, "-s", package], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="session")
def npm_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the official clients, from the npm registry."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("npm")
    (folder / "package.json").write_text('{"private": true}')
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", *NPM_PACKAGES]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        pytest.skip(f"the npm registry did not give the clients: {done.stderr.strip().splitlines()[-1:]}")
    for script in Path(__file__).parent.glob("*.mjs"):
        shutil.copy(script, folder)
    return folder
