"""Electronic signatures: who signed which version of which record, meaning what, proven at that moment by a secret of theirs.

A signature is bound to the canonical bytes, id and version of a record and to an event of the log. It is never changed or deleted;
a revocation is a further record. What can be signed registers itself as a `contracts.SignableKind`.
"""
