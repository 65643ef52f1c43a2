"""Aliquot: a self-hosted assistant server for laboratories and clinics.

One folder per noun; inside, always the same file names. A folder imports only from folders below it on the ladder
drawn in `docs/map.md`; other domains are entered through their `api.py` and `contracts.py` only.
"""

__version__ = "0.1.0"
