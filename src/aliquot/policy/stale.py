"""What changed between an approval and its execution: as codes, and in words for whoever asked. Pure.

The words name what the requester was shown anyway, and the dry run of their own call of now. Somebody else learns only that it is not
theirs.
"""

from collections.abc import Mapping, Sequence

from aliquot.kernel.canonical import content_hash
from aliquot.platform.vault import Damaged, Erased, Vault
from aliquot.policy import approvals
from aliquot.policy.contracts import Decision, Preview, Query
from aliquot.policy.store import ApprovalRow

_CHANGED = {
    "tool": "the tool",
    "tool_schema": "the definition of the tool",
    "arguments": "the arguments",
    "preview": "what would happen",
    "run": "the run it belongs to",
}
_OTHERWISE = {
    "damaged": "The stored request does not match its seal, so nothing was done. Please ask again.",
    "decision": "This was not approved, so nothing was done. Please ask again.",
    "executed_before": "This was carried out once already; it is not done again.",
    "limit": "A limit of the policy was reached since this was approved, so nothing was done.",
    "requester": "This was approved for somebody else, so nothing was done.",
}


def changes(vault: Vault, row: ApprovalRow, query: Query, preview: Preview, current: Decision) -> list[str]:
    """What differs between what was approved and what would happen now, as codes."""
    try:
        request = approvals.open_request(vault, row)
        ruling = approvals.open_ruling(vault, row)
        found = {"arguments": content_hash(query.arguments), "preview": approvals.material_sha256(preview)}
    except (Damaged, Erased, ValueError, KeyError, TypeError):
        return ["damaged"]
    approved = ruling is not None and ruling.choice == "approve"
    differs = {
        "decision": not approved,
        "requester": str(query.principal.id) != request.requester,
        "tool": query.tool.name != request.tool,
        "tool_schema": query.tool.schema_sha256 != request.tool_schema_sha256,
        "arguments": found["arguments"] != content_hash(request.arguments),
        "resources": dict(preview.resource_versions) != dict(request.preview.resource_versions),
        "preview": found["preview"] != approvals.material_sha256(request.preview),
        "policy": current.decision == "deny" or not set(current.obligations) <= set(request.decision.obligations),
        "run": query.run_id not in {None, row.run_id, row.next_run_id},
    }
    return [name for name, different in differs.items() if different]


def told(changed: Sequence[str], *, approved: Mapping[str, int], preview: Preview, current: Decision) -> str:
    """`changed`: the codes; `approved`: the versions of the records as they were approved; `preview`, `current`: of now."""
    otherwise = next((sentence for code, sentence in _OTHERWISE.items() if code in changed), None)
    if otherwise is not None:
        return otherwise
    named = [words for code, words in _CHANGED.items() if code in changed]
    if "resources" in changed and (preview.resource_versions or "preview" not in changed):  # else there is no dry run any more: see `now`
        named = [f"the state of {_listed(_moved(approved, preview.resource_versions))}", *named]
    if "policy" in changed:
        named.append("what the policy says of it and of your roles")
    since = f"Since this was approved, {_listed(named)} changed, so nothing was done. Please ask again."
    now = [reason.text for reason in current.reasons] if current.decision == "deny" else []
    if "preview" in changed and preview.summary:
        now.append(preview.summary)
    return f"{since} Now: {' '.join(now)}" if now else since


def _moved(then: Mapping[str, int], now: Mapping[str, int]) -> list[str]:
    """Records whose versions differ: `instrument PCR-02`."""
    records = sorted(record for record in {*then, *now} if then.get(record) != now.get(record))
    return [f"{kind.replace('_', ' ')} {name}" for kind, _, name in (record.partition(":") for record in records)]


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
