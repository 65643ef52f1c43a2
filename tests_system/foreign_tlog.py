"""Reads a C2SP log (folder, verifier key, earlier checkpoint) with `tlog-scales`, in an environment of its own. Prints JSON.

The checkpoint's signature, the tiles, an inclusion proof for every entry, a consistency proof from the earlier checkpoint.
"""

import json
import sys
from pathlib import Path

from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey
from tlog_scales.tlog import Checkpoint
from tlog_scales.utils import sha256

folder, vkey, earlier = sys.argv[1:]
reader = TilesReader(LocalBackend(Path(folder)))
now, old = reader.get_checkpoint(), Checkpoint.from_text(Path(earlier).read_text())
for checkpoint in (now, old):
    checkpoint.verify(Vkey.from_string(vkey))
if reader.calculate_root_hash() != now.root_hash:
    sys.exit("the tiles have another root")
for index in range(now.size):
    leaf = sha256(b"\x00" + reader.get_entry(index))
    reader.get_inclusion_proof(index, now.size).check(leaf, now.root_hash)
reader.get_consistency_proof(old.size, now.size).check(old.root_hash, now.root_hash)
print(json.dumps({"size": now.size, "included": now.size, "consistent_from": old.size}))
