"""What a process has: every service by its name."""

import uuid
from dataclasses import dataclass, field
from typing import Any

from aliquot.admin.api import AdminApi
from aliquot.chat.api import ChatApi
from aliquot.chat.live.api import LiveApi
from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Clock
from aliquot.lab.api import LabApi
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.keys import LogKeys
from aliquot.ledger.restated import Rechecker
from aliquot.ledger.sequencer import Sequencer
from aliquot.models.api import ModelsApi
from aliquot.platform.db import Database, Transaction
from aliquot.platform.jobs import Jobs
from aliquot.platform.limits import Limiter
from aliquot.platform.link import ValkeyLink
from aliquot.platform.loops import Loops
from aliquot.platform.settings import Settings
from aliquot.platform.telemetry import Metrics
from aliquot.platform.vault import Vault
from aliquot.policy.api import PolicyApi
from aliquot.policy.contracts import Approval, ToolFacts
from aliquot.records.access.api import AccessApi
from aliquot.records.alerts.api import AlertsApi
from aliquot.records.erasure.api import ErasureApi
from aliquot.records.retention.api import RetentionApi
from aliquot.records.review.api import ReviewApi
from aliquot.records.signatures.api import SignaturesApi
from aliquot.records.training.api import TrainingApi
from aliquot.reports.api import ReportsApi
from aliquot.routing.api import RoutingApi
from aliquot.tools.api import ToolsApi
from aliquot.tools.contracts import ToolContext
from aliquot.tools.mcp.servers import RemoteServers


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseUrls:
    """The logins of the serving process: never the owner's."""

    app: str
    sequencer: str


@dataclass(slots=True, kw_only=True)
class Services:
    """Everything a process has; `app.state.services` in the web server."""

    settings: Settings
    clock: Clock
    db: Database
    sequencer_db: Database
    vault: Vault
    metrics: Metrics
    limiter: Limiter
    jobs: Jobs
    loops: Loops
    ledger: LedgerApi
    log_keys: LogKeys
    rechecker: Rechecker
    sequencer: Sequencer
    identity: IdentityApi
    signatures: SignaturesApi
    training: TrainingApi
    alerts: AlertsApi
    review: ReviewApi
    erasure: ErasureApi
    retention: RetentionApi
    access: AccessApi
    policy: PolicyApi
    tools: ToolsApi
    models: ModelsApi
    lab: LabApi
    routing: RoutingApi
    chat: ChatApi
    live: LiveApi
    mcp: RemoteServers
    admin: AdminApi
    link: ValkeyLink | None
    reports: ReportsApi = field(init=False)
    """Reads the others."""

    def __post_init__(self) -> None:
        self.reports = ReportsApi(self.db, self, self.clock)

    async def describe_call(
        self, tx: Transaction, principal: Principal, tool: str, arguments: dict[str, Any]
    ) -> tuple[ToolFacts, dict[str, Any]]:
        """What the policy is told about a hypothetical call (`POST /api/policy/explain`)."""
        context = ToolContext(principal=principal, run_id=None, call_id="explain", idempotency_key="explain")
        query = await self.tools.query(tx, context, tool, arguments)
        return query.tool, query.facts

    async def edit_call(self, tx: Transaction, principal: Principal, approval_id: uuid.UUID, arguments: dict[str, Any]) -> Approval:
        """Puts a request with other arguments in the place of a pending one (`POST /api/approvals/{id}/edit`)."""
        return await self.tools.edit(tx, principal, approval_id, arguments)
