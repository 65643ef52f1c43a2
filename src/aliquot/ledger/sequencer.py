"""The sequencer: gives committed events their place in the log, and signs where the log stands.

One process is elected by a PostgreSQL advisory lock that its connection holds; all its work runs on that connection, so a
lost connection is a lost office. Each cycle is one transaction: new events, their leaf hashes, the tree nodes they complete,
the new root and its signed checkpoint become visible together or not at all. A checkpoint that was signed but not committed
never left this process. The files are written afterwards and are made good at the next start.

Finding new events. `audit_event.tx` is the number of the writing transaction. `Seen` says which transactions were finished
when the log last grew. A cycle reads, in one snapshot, the events of transactions that were unfinished then: those it can
see are committed and not in the log (each transaction is taken whole), those it cannot see are still unfinished in the new
`Seen`. So every committed event is taken exactly once, whatever the order of commits, with two index look-ups.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import psycopg
import structlog
from psycopg import IsolationLevel
from sqlalchemy import text

from aliquot.kernel.clock import Clock
from aliquot.kernel.problems import Problem
from aliquot.ledger import anchor_store, store
from aliquot.ledger.errors import LogRefused
from aliquot.ledger.files import CHECKPOINT, KEYS, LogFiles
from aliquot.ledger.keys import KeySource, key_in_force, keys_document, vkeys
from aliquot.ledger.merkle import WIDTH, Node, Range, Tile, Tree, encode_bundle, leaf_hash, levels, tile_path, tiles_between
from aliquot.ledger.note import LogKey, NoteError, TreeHead, checkpoint_text, parse_checkpoint, verify_note
from aliquot.platform.db import Connection, Database, Transaction

log = structlog.get_logger(__name__)

_ELECTION = 0x616C_7365_7131  # any fixed number: whoever holds this advisory lock is the sequencer
_PUBLISH_TILES = 8
_ROTATED = b'{"action":"log_key.rotated"'


class Sequencer:
    """Runs until cancelled. Every process may run one; one at a time works, the others wait for its office."""

    def __init__(
        self,
        database: Database,
        files: LogFiles,
        key: KeySource,
        clock: Clock,
        *,
        interval_seconds: float = 0.2,
        poll_seconds: float = 0.5,
        files_seconds: float = 1.0,
        batch: int = 2_000,
    ) -> None:
        """`database` is a pool of the login `aliquot_sequencer`. Checkpoints follow new events by `interval_seconds`: what comes
        meanwhile shares them, and whoever recorded an event goes on first; `poll_seconds` is how much longer events of other processes
        wait, for which nobody calls `wake`; the files follow at `files_seconds` apart, because each of them costs an fsync that
        commits have to wait for."""
        self._database = database
        self._files = files
        self._key = key
        self._vkeys: list[str] = []
        self._clock = clock
        self._interval = interval_seconds
        self._poll = poll_seconds
        self._files_interval = files_seconds
        self._files_due = 0.0
        self._batch = batch
        self._woken = asyncio.Event()
        self._tree = Tree()
        self._published = 0
        self._checkpoint_published = self._keys_published = False
        self.refused: str | None = None
        """Why the log is not extended, for health; None when all is well."""
        self.files_error: str | None = None
        """Why the files lag behind the database, for health; None when they do not."""

    def wake(self) -> None:
        """Events were committed in this process: look now instead of at the next poll. Call it from the event loop."""
        self._woken.set()

    async def run(self) -> None:
        """Stand for election and work; again after a lost database connection."""
        while True:
            try:
                await self._serve(until_idle=False)
            except LogRefused as error:
                if self.refused != str(error):
                    log.error("ledger_refused", reason=str(error))
                self.refused = str(error)
            except (psycopg.Error, Problem, OSError) as error:
                log.warning("sequencer_interrupted", error=type(error).__name__)
            except Exception:  # a bug must not end the log for good: health shows the backlog, the next try may succeed
                log.exception("sequencer_failed")
            await asyncio.sleep(self._poll)

    async def run_once(self) -> None:
        """Bring the log and its files up to date with what is committed now, then resign. For tests and tools."""
        await self._serve(until_idle=True)

    async def _serve(self, *, until_idle: bool) -> None:
        async with self._database.connection(IsolationLevel.REPEATABLE_READ) as conn:
            if not await self._elected(conn):
                return
            await self._examine(conn)
            self.refused = None
            while True:
                self._woken.clear()
                busy = await self._cycle(conn)
                if until_idle or asyncio.get_running_loop().time() >= self._files_due:
                    busy = await self._publish(conn) or busy
                if not busy and until_idle:
                    return
                if not busy:
                    await self._rest()

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._poll):
                await self._woken.wait()
        await asyncio.sleep(self._interval)

    async def _elected(self, conn: Connection) -> bool:
        async with conn.begin() as tx:
            return bool(await tx.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _ELECTION}))

    async def _examine(self, conn: Connection) -> None:
        """Take up the log where it stands. Raises LogRefused when database, key and published files contradict each other."""
        async with conn.begin() as tx:
            state = await store.state(tx)
            _, cluster = await store.snapshot(tx, 0)
            if cluster != state.cluster:
                raise LogRefused("this database was restored into another PostgreSQL cluster: run `aliquot db upgrade` as its owner")
            self._tree = await _load_tree(tx, state)
            await self._take_up_key(tx)
            if state.note is not None:
                head = self._opened(state.note, "the database")
                if (head.size, head.root_hash) != (state.size, state.root_hash):
                    raise LogRefused("the stored checkpoint does not belong to the stored log: the database was altered")
            await self._compare_files(tx, state)

    async def _compare_files(self, tx: Transaction, state: store.State) -> None:
        """What was published may only ever be extended."""
        published = await asyncio.to_thread(self._files.checkpoint)
        if published is None:
            self._published, self._checkpoint_published = 0, False
            return
        head = self._opened(published, str(self._files.folder))
        if head.size > state.size:
            raise LogRefused(
                f"{head.size} events were signed and published, the database holds {state.size}: it was rolled back. "
                f"Restore the newer database, or move {self._files.folder} away to accept the loss"
            )
        if head.size and (await store.hashes_of(tx, [Range(0, head.size)], head.size))[0] != head.root_hash:
            raise LogRefused(f"the first {head.size} events differ from what was signed and published: the database was altered")
        self._published, self._checkpoint_published = head.size, True

    async def _take_up_key(self, tx: Transaction) -> None:
        """The keys that signed this log; a rotation that a crash left half done is completed."""
        placed = await anchor_store.rotations(tx)
        if key_in_force(self._key, placed).vkey != self._key.current().vkey:
            self._key.promote()
        self._vkeys = vkeys(self._key.current().vkey, placed)
        self._keys_published = False

    def _opened(self, note: str, where: str) -> TreeHead:
        key, problem = self._key.current(), ""
        for vkey in reversed(self._vkeys):
            try:
                head = parse_checkpoint(verify_note(note, vkey))
            except NoteError as error:
                problem = str(error)
                continue
            if head.origin != key.origin:
                raise LogRefused(f"the checkpoint in {where} belongs to another log")
            return head
        raise LogRefused(f"the checkpoint in {where} is not signed by the log's key {key.vkey}: {problem}")

    async def _cycle(self, conn: Connection) -> bool:
        """Take the new events into the log; True when more are waiting."""
        async with conn.begin() as tx:
            state = await store.state(tx)
            if state.size != self._tree.size:
                raise LogRefused("the log was extended by another process: the advisory lock does not hold")
            events = await store.new_events(tx, state.seen, self._batch)
            if not events:
                return False
            now, _ = await store.snapshot(tx, state.tx_offset)
            full = sum(event.tx >= state.seen.xmax for event in events) >= self._batch
            seen = _cut(now, events[-1].tx) if full else now
            rotated = await self._rotated(tx, events)
            tree = await self._extend(tx, state, events, seen, rotated or self._key.current())
        self._tree = tree
        if rotated is not None:
            self._key.promote()
            log.info("log_key_rotated", vkey=rotated.vkey)
            async with conn.begin() as tx:
                await self._take_up_key(tx)
        return full

    async def _rotated(self, tx: Transaction, events: Sequence[store.NewEvent]) -> LogKey | None:
        """The key to sign with from now on, when these events record a rotation to it."""
        recorded = [event.id for event in events if event.body.startswith(_ROTATED)]
        if not recorded:
            return None
        staged, key = self._key.staged(), self._key.current()
        for rotation in await anchor_store.recorded_rotations(tx, recorded):
            try:
                rotation.check()
            except NoteError as error:
                log.error("rotation_ignored", reason=str(error))  # nobody without the old key can rotate; verifiers name the event
                continue
            if rotation.old_vkey == key.vkey and (staged is None or staged.vkey != rotation.new_vkey):
                raise LogRefused("the key that the log is to be rotated to is not in the folder of keys (log.next): restore it")
            if rotation.old_vkey == key.vkey:
                return staged
        return None

    async def _extend(self, tx: Transaction, state: store.State, events: Sequence[store.NewEvent], seen: store.Seen, key: LogKey) -> Tree:
        tree = self._tree.copy()
        hashes = [leaf_hash(event.body) for event in events]
        nodes: list[Node] = []
        for leaf in hashes:
            nodes += tree.append(leaf)
        await store.extend_log(tx, state.size, [event.id for event in events], hashes, nodes)
        root = tree.root()
        note = key.sign(checkpoint_text(TreeHead(key.origin, tree.size, root)))
        moved = await store.advance(tx, old=state.size, size=tree.size, root=root, note=note, at=self._clock.now(), seen=seen)
        if not moved:
            raise LogRefused("the log was extended by another process: the advisory lock does not hold")
        return tree

    async def _publish(self, conn: Connection) -> bool:
        """Write files for what is committed, a bounded number per call; True when more are left to write."""
        size = self._tree.size
        if self._published == size and (self._checkpoint_published or size == 0):
            return False
        target = min(size, (self._published // WIDTH + _PUBLISH_TILES) * WIDTH)
        async with conn.begin() as tx:
            files, full = await self._tiles(tx, self._published, target)
            note = (await store.state(tx)).note if target == size else None
            keys = None if self._keys_published else keys_document(self._key.current().vkey, await anchor_store.rotations(tx))
        try:
            await asyncio.to_thread(self._files.write, files if keys is None else [*files, (KEYS, keys)])
            if note is not None:
                await asyncio.to_thread(self._files.write, [(CHECKPOINT, note.encode())])
            await asyncio.to_thread(self._files.remove_partials, full)
        except OSError as error:  # a full disk: the database goes on, the files follow when there is room
            self.files_error = f"{type(error).__name__}: {error.strerror}"
            log.error("tlog_files_not_written", error=self.files_error)
            return False
        self.files_error, self._keys_published = None, True
        self._published, self._checkpoint_published = target, note is not None
        if target == size:
            self._files_due = asyncio.get_running_loop().time() + self._files_interval
        return target < size

    async def _tiles(self, tx: Transaction, old: int, new: int) -> tuple[list[tuple[str, bytes]], list[str]]:
        """Files that a log of `new` events has and one of `old` had not, and the paths of the full tiles among them."""
        start = old // WIDTH * WIDTH
        rows = await store.entries(tx, start, new)
        files, full = [], []
        for level in range(levels(new)):
            for tile in tiles_between(old, new, level):
                part = rows[tile.n * WIDTH - start :][: tile.width] if level == 0 else []
                hashes = [row[0] for row in part] if level == 0 else await store.tile(tx, tile)
                files.append((tile_path(tile), b"".join(hashes)))
                if level == 0:
                    files.append((tile_path(tile, entries=True), encode_bundle(row[1] for row in part)))
                if tile.width == WIDTH:
                    full += [tile_path(tile)] + [tile_path(tile, entries=True)] * (level == 0)
        return files, full


def _cut(now: store.Seen, last: int) -> store.Seen:
    """`now`, as far as transaction `last`: those after it are left for the next cycle."""
    return store.Seen(last + 1, tuple(x for x in now.running if x <= last))


async def _load_tree(tx: Transaction, state: store.State) -> Tree:
    edges = []
    for level in range(levels(state.size)):
        count = state.size >> 8 * level
        edges.append(await store.tile(tx, Tile(level, count // WIDTH, count % WIDTH)) if count % WIDTH else [])
    try:
        tree = Tree(state.size, edges)
    except ValueError as error:
        raise LogRefused("entries of the log are missing: the database was altered") from error
    if tree.root() != state.root_hash:
        raise LogRefused("the stored hashes do not give the stored root: the database was altered")
    return tree
