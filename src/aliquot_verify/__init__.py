"""The offline verifier of Aliquot's audit exports: no database, no network, nothing of `aliquot` imported.

It judges bytes: that the events hash to the tree, the tree to the signed checkpoint, and the files to the signed manifest.
It does not judge whether what an event says is true.
"""
