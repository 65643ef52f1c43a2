"""The record that a third party can verify: audit events, sequencer, Merkle log, checkpoints, proofs, export.

A domain appends its audit event in the transaction of its change; no event, no change. The sequencer places committed
events into a C2SP tlog and signs checkpoints. It does not decide what is audited, and it never holds plaintext contents.
"""
