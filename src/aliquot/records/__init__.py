"""What is shown and handed out of the record: the audit trail over HTTP, its proofs and its export.

Signatures, retention, erasure and access reports will stand here too. It records nothing itself: `ledger` does.
"""
