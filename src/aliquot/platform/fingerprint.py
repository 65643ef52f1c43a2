"""Which keys a database belongs to. Two servers with different key folders on one database would each write what the other cannot
read, so the first start leaves a fingerprint of its keys and every later one compares. A fingerprint says nothing of the keys.
"""

import psycopg
from psycopg.rows import tuple_row

from aliquot.platform.db import libpq_url
from aliquot.platform.tables import installation
from aliquot.platform.vault import SITE, Vault

_CLAIM = f"INSERT INTO {installation.name} (id, keys_hmac, log, created_at) VALUES (1, %s, %s, now()) ON CONFLICT DO NOTHING"  # noqa: S608 - fixed text
_READ = f"SELECT keys_hmac, log FROM {installation.name}"  # noqa: S608 - fixed text


class ForeignKeys(Exception):
    """The database belongs to other keys than those in the data folder; the text says which and what to do."""


def require_same_keys(url: str, vault: Vault, log: str, *, claim: bool) -> None:
    """Refuse a database that other keys wrote. `log` is the origin of the log's signing key, which a later key keeps; `claim` leaves a
    fingerprint where there is none.

    The site's own data key is made at random in each key folder: it differs even between two folders under one root key.
    """
    keys_hmac, _ = vault.commit(SITE, b"installation")
    with psycopg.connect(libpq_url(url), row_factory=tuple_row) as conn:
        if claim:
            conn.execute(_CLAIM, [keys_hmac, log])
        found = conn.execute(_READ).fetchone()
    if found is None:
        return
    if found[0] != keys_hmac:
        raise ForeignKeys(
            "this database belongs to another key folder: what it holds could not be read, and what is written not by the others. "
            "All servers of one database share one keys folder (a shared mount or a link); after a restore put the newest keys back"
        )
    if found[1] != log:
        raise ForeignKeys("keys/log is not the key this database's audit log is signed with: put back the one from the newest key back-up")
