"""The offline verifier of Aliquot's audit exports, and the witness: nothing of `aliquot` imported, no database.

It judges bytes: that the events hash to the tree, the tree to the signed checkpoint, the files to the signed manifest, and that anchors
(earlier checkpoints, witnesses, time stamps) agree. It does not judge whether what an event says is true. Verifying uses no network; only
`witness` talks to a server.
"""
