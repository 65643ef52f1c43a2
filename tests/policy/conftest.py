"""The policy on a real database: ledger, vault and clock as in the product, people with the rights of their roles."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from aliquot.identity.contracts import Principal, Via
from aliquot.identity.rights import permissions_of
from aliquot.kernel.canonical import content_hash
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import Forbidden
from aliquot.ledger.api import LedgerApi
from aliquot.platform.db import Database, Transaction
from aliquot.platform.settings import Settings
from aliquot.platform.vault import Vault
from aliquot.policy.api import PolicyApi, kept_refusals
from aliquot.policy.contracts import Approval, Decision, Preview, Query, Signature, Signed, ToolFacts

START_RUN = ToolFacts(name="start_run", effect="instrument", permissions=("lab.operate",), schema_sha256=content_hash({"type": "object"}))
STOP_RUN = replace(START_RUN, name="stop_run")
READ = ToolFacts(name="get_instrument_status", effect="read", permissions=("lab.read",), schema_sha256=content_hash({}))
ARGUMENTS: dict[str, Any] = {"instrument": "PCR-02", "protocol": "PCR-STD-35", "samples": ["S-0001"]}
PREVIEW = Preview(
    summary="PCR-02 would run PCR-STD-35 with 1 sample.",
    changes=({"record": "instrument:PCR-02", "field": "state", "before": "idle", "after": "running"},),
    warnings=("The block is cold.",),
    resource_versions={"instrument:PCR-02": 4},
)
PASSWORD = "the right password"


class WrongPassword(Forbidden):
    code, sentence = "wrong_password", "The password is wrong."


async def verify(tx: Transaction, principal: Principal, signature: Signature) -> Signed:
    """Signatures with one good password."""
    if signature.password != PASSWORD:
        raise WrongPassword
    return Signed(printed_name=principal.name)


@dataclass
class World:
    """Everything a test needs to ask, approve and execute."""

    db: Database
    vault: Vault
    clock: Any
    policy: PolicyApi
    continued: list[uuid.UUID] = field(default_factory=list)

    def person(self, *roles: str, via: Via = "session", may_sign: bool = True) -> Principal:
        found = Principal(
            id=new_id(), email="someone@example.org", name="Some One", roles=frozenset(roles), via=via,
            permissions=permissions_of(roles, may_sign=may_sign), session_id=new_id() if via == "session" else None,
        )  # fmt: skip
        self.vault.ensure_subject(found.id)
        return found

    @asynccontextmanager
    async def tx(self) -> AsyncIterator[Transaction]:
        async with kept_refusals(self.db) as tx:
            yield tx

    async def ask(self, query: Query, preview: Preview = PREVIEW) -> Approval:
        """Decide and request, as `tools` does for a held call."""
        async with self.tx() as tx:
            decision = await self.policy.decide(tx, query)
            assert decision.decision == "confirm"
            return await self.policy.request_approval(tx, query=query, decision=decision, call_id="call-1", preview=preview)

    async def decide(self, by: Principal, approval: Approval, choice: Any = "approve", **more: Any) -> Approval:
        async with self.tx() as tx:
            return await self.policy.decide_approval(tx, by, approval.id, choice, **more)

    async def begin(self, approval: Approval, query: Query, preview: Preview = PREVIEW) -> Approval:
        async with self.tx() as tx:
            return await self.policy.begin_execution(tx, approval.id, query_now=query, preview_now=preview)

    async def state(self, approval: Approval) -> str:
        return str((await self.rows("SELECT state FROM policy_approval WHERE id = :id", id=approval.id))[0][0])

    async def rows(self, sql: str, **values: Any) -> list[Any]:
        async with self.db.begin() as tx:
            return list((await tx.execute(sa.text(sql), values)).all())

    async def events(self, action: str) -> list[Any]:
        """(outcome, reason, actor) of the audit events called `action`."""
        sql = (
            "SELECT convert_from(body, 'UTF8')::jsonb ->> 'outcome', convert_from(body, 'UTF8')::jsonb ->> 'reason', actor "
            "FROM audit_event WHERE action = :action ORDER BY id"
        )
        return [tuple(row) for row in await self.rows(sql, action=action)]


def query(principal: Principal, tool: ToolFacts = START_RUN, arguments: dict[str, Any] | None = None, **more: Any) -> Query:
    return Query(principal=principal, tool=tool, arguments=ARGUMENTS if arguments is None else arguments, **more)


def ids(decision: Decision) -> set[str]:
    return {reason.policy_id for reason in decision.reasons}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def make_policy(vault: Vault, clock: Clock, settings: Settings) -> Callable[..., PolicyApi]:
    def make(**more: Any) -> PolicyApi:
        return PolicyApi(LedgerApi(vault, clock), vault, clock, settings, **{"verify_signature": verify, **more})

    return make


@pytest.fixture
def world(database: Database, vault: Vault, clock: Any, make_policy: Callable[..., PolicyApi]) -> World:
    made = World(db=database, vault=vault, clock=clock, policy=make_policy())

    async def continue_run(_: Transaction, run_id: uuid.UUID) -> None:
        made.continued.append(run_id)

    made.policy.continue_run = continue_run
    return made
