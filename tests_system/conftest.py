"""Tests that need root, system packages or the npm registry. What cannot be installed is said in one sentence and skipped."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import cheap_passwords, cluster  # noqa: F401 - fixtures
from tests.peers.fixtures import model_host, model_server  # noqa: F401 - fixtures
from tests.site import seeded, seeded_urls, site  # noqa: F401 - fixtures

NPM_PACKAGES = ("@ag-ui/client@1.0.0", "ai@7")


@pytest.fixture(scope="session")
def nginx_binary() -> str:
    """The real nginx, installed by apt if need be."""
    return _installed("nginx")


def _installed(package: str) -> str:
    if (found := shutil.which(package)) is not None:
        return found
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip(f"{package} is not installed, and installing it needs root and apt-get")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", package]):
        done = subprocess.run(["apt-get", *command], env=environment, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            pytest.skip(f"apt-get {command[0]} failed: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    found = shutil.which(package)
    assert found is not None
    return found


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
