"""A sequencer that dies by SIGKILL at its n-th step. Reads n from standard input, line by line; forks so that imports cost once.

Answers with the exit status of each child: -9 when it was killed, 0 when there was no n-th step.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from aliquot.kernel.clock import SystemClock
from aliquot.ledger.files import LogFiles
from aliquot.ledger.note import LogKey, load_log_key
from aliquot.ledger.sequencer import Sequencer
from aliquot.platform.db import Database


class Death:
    """Counts steps and kills this process at the chosen one."""

    def __init__(self, at: int) -> None:
        self.left = at

    def step(self) -> bool:
        self.left -= 1
        return self.left == 0

    def now(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class MortalFiles(LogFiles):
    """Dies before, in the middle of, and after each primitive."""

    def __init__(self, folder: Path, death: Death) -> None:
        super().__init__(folder)
        self.death = death

    def _write(self, path: Path, content: bytes) -> None:
        if self.death.step():
            path.write_bytes(content[: len(content) // 2])
            self.death.now()
        super()._write(path, content)

    def _rename(self, draft: Path, path: Path) -> None:
        if self.death.step():
            self.death.now()
        super()._rename(draft, path)
        if self.death.step():
            self.death.now()

    def _sync_folder(self, folder: Path) -> None:
        if self.death.step():
            self.death.now()
        super()._sync_folder(folder)

    def _remove(self, path: Path) -> None:
        if self.death.step():
            self.death.now()
        super()._remove(path)


class MortalKey(LogKey):
    """Dies in the transaction: the checkpoint is signed, nothing is committed."""

    death: Death

    def sign(self, text: str) -> str:
        note = super().sign(text)
        if self.death.step():
            self.death.now()
        return note


async def work(url: str, folder: Path, keys: Path, at: int) -> None:
    death = Death(at)
    key = load_log_key(keys)
    mortal = MortalKey(key.origin, key._seed)
    mortal.death = death
    database = Database(url, pool_size=1)
    await Sequencer(database, MortalFiles(folder, death), mortal, SystemClock()).run_once()
    await database.close()


def main() -> None:
    url, folder, keys = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    Database(url)  # imports the driver, connects to nothing: what is imported here is not imported again by each child
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            asyncio.run(work(url, folder, keys, int(line)))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
