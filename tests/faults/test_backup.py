"""A back-up made while people work, restored beside it: the messages are readable and the log verifies."""

import shutil
import tempfile
import threading
from pathlib import Path

import pytest

from tests.faults.conftest import ServerProcess
from tests.faults.test_kill_server import verify


@pytest.mark.rule("11.10(c)", "Annex 11 s.7.2", "ALCOA enduring")
def test_a_live_back_up_is_restored_elsewhere(server: ServerProcess, tmp_path: Path) -> None:
    server.start()
    client = server.client()
    said = client.post("/api/conversations/before/messages", json={"content": "Is PCR-02 ready?"})
    assert said.status_code == 202
    stop, asked = threading.Event(), 0

    def work() -> None:
        nonlocal asked
        while not stop.is_set() and asked < 50:
            assert client.post("/api/chat/completion", json={"message": "What is SEQ-01 doing?"}).status_code == 200
            asked += 1

    load = threading.Thread(target=work)
    load.start()
    data, keys = tmp_path / "data-backup", tmp_path / "keys-backup"
    made = server.run("backup", str(data))
    stop.set()
    load.join()
    assert asked > 0
    assert (made.returncode, (data / "database.dump").exists()) == (0, True), made.stderr
    assert not list(data.rglob("root"))
    assert not list(data.rglob("subjects"))
    assert server.run("backup", "--keys", str(keys)).returncode == 0
    assert sorted(path.name for path in keys.iterdir()) == ["log", "subjects"]

    with tempfile.TemporaryDirectory(prefix="aliquot-restored-") as folder:
        restored = ServerProcess(Path(folder) / "data")
        (restored.folder / "keys").mkdir(parents=True)
        shutil.copy(server.folder / "keys" / "root", restored.folder / "keys" / "root")
        # What nobody vouched for is not taken over: it would be served among the tiles, or lie among the blobs.
        for intruder in (data / "tlog" / "leak", data / "blobs" / "more"):
            intruder.parent.mkdir(exist_ok=True)
            intruder.symlink_to(restored.folder / "keys" / "root")
            refused = restored.run("restore", str(data), "--keys", str(keys))
            assert (refused.returncode != 0, "does not belong to it" in " ".join(refused.stderr.split())) == (True, True), refused.stderr
            intruder.unlink()
        done = restored.run("restore", str(data), "--keys", str(keys))
        assert done.returncode == 0, done.stderr
        try:
            again = restored.start().client()
            items = again.get("/api/conversations/before/messages").json()["items"]
            assert items[-1]["content"] == "Is PCR-02 ready?"
            assert again.post("/api/chat/completion", json={"message": "Is PCR-02 ready?"}).status_code == 200
            assert again.get("/api/health").json()["parts"]["ledger"]["status"] == "ok"
            bundle = tmp_path / "bundle.zip"
            bundle.write_bytes(restored.client("reviewer").post("/api/audit/export", json={}).content)
            assert verify(bundle) == 0
        finally:
            restored.stop()
