"""The only door to language models."""

import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import structlog

from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Clock
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.models import store
from aliquot.models.budget import Budget
from aliquot.models.config import ModelConfig, load_models
from aliquot.models.context import TokenEstimator
from aliquot.models.contracts import (
    HourOfPerson,
    ModelDone,
    ModelEvent,
    ModelInfo,
    ModelRequest,
    Notice,
    Spending,
    UsageBreakdown,
    UsagePart,
    UsageTotal,
)
from aliquot.models.engine import Engine
from aliquot.models.errors import ModelNotConfigured, ModelProblem, NoModelForPatientData, ProviderMisbehaved, UnknownModel
from aliquot.models.lanes import Lane, Queue, Waiting
from aliquot.models.providers.base import Adapter
from aliquot.models.providers.factory import adapter_for
from aliquot.platform.db import Database, Transaction
from aliquot.platform.settings import Settings

log = structlog.get_logger(__name__)

_DEFAULT_FRESH_SECONDS = 5.0
"""How long another process may go on with the former default after a switch."""


@dataclass(slots=True)
class _Default:
    name: str | None = None
    read_at: float | None = None


class ModelsApi:
    """Streams from the declared models with fallback, retry, breaker and caps; lists and switches them; reports usage."""

    def __init__(
        self,
        settings: Settings,
        db: Database,
        ledger: LedgerApi,
        clock: Clock,
        *,
        models: Sequence[ModelConfig] | None = None,
        waiting: Waiting | None = None,
        connect: Callable[[ModelConfig], Adapter] = adapter_for,
    ) -> None:
        """Reads the models file named in `settings` unless `models` are given. Raises SettingsError when it is damaged."""
        declared = tuple(models) if models is not None else load_models(settings.models)
        self._db = db
        self._ledger = ledger
        self._clock = clock
        self._limits = settings.limits
        self._waiting = waiting or Waiting()
        queue = Queue(settings.limits.model_queue)
        self._lanes = {m.name: Lane(m, connect(m), queue, self._waiting) for m in declared}
        self._estimator = TokenEstimator()
        self._budget = Budget(db, ledger, clock, settings.limits)
        self._engine = Engine(self._budget, self._estimator, self._waiting, settings.limits.model_call_seconds)
        self._default = _Default()

    @property
    def configured(self) -> bool:
        """True when the models file declares at least one model."""
        return bool(self._lanes)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Notices, deltas and tool uses, then exactly one ModelDone.

        Close the iterator (`contextlib.aclosing`) to cancel the provider's call. Raises ModelNotConfigured, UnknownModel,
        NoModelForPatientData, BudgetExceeded, TokensExceeded; a ModelProblem (ProviderBusy, ContextTooLong, …) when no model
        could begin an answer; ProviderInterrupted when an answer broke off after something was shown.
        """
        wished, *others = await self._candidates(request)
        failure: ModelProblem | None = None
        for lane in _usable(wished, others):
            if lane is not wished:
                yield Notice(code="fallback", text=f"{wished.name} is not available at the moment; {lane.name} answers instead.")
            try:
                async with aclosing(self._engine.run(lane, request)) as events:
                    async for event in events:
                        yield event
                return
            except ModelProblem as problem:
                log.warning("model_call_failed", endpoint=lane.name, code=problem.code)
                failure = failure or problem
        raise failure or ModelNotConfigured()

    async def complete(self, request: ModelRequest) -> ModelDone:
        """The whole turn at once. Raises what `stream` raises."""
        async with aclosing(self.stream(request)) as events:
            async for event in events:
                if isinstance(event, ModelDone):
                    return event
        raise ProviderMisbehaved

    async def _candidates(self, request: ModelRequest) -> list[Lane]:
        """The lanes to try, in order: the asked-for or default model, then the models file from its top."""
        if not self._lanes:
            raise ModelNotConfigured
        first = request.model or await self._current()
        if first not in self._lanes:
            raise UnknownModel
        names = [first, *(n for n in self._lanes if n != first)] if request.fallback else [first]
        lanes = [self._lanes[n] for n in names]
        if request.patient_data:
            lanes = [lane for lane in lanes if lane.config.patient_data]
            if not lanes or (request.model and lanes[0].name != request.model):
                raise NoModelForPatientData
        return lanes

    async def _current(self) -> str:
        """Name of the site-wide default: the one switched to, else the first of the file."""
        now = self._waiting.monotonic()
        if self._default.read_at is None or now - self._default.read_at > _DEFAULT_FRESH_SECONDS:
            async with self._db.begin() as tx:
                self._default = _Default(await store.default_name(tx), now)
        name = self._default.name
        return name if name in self._lanes else next(iter(self._lanes))

    async def list_models(self) -> tuple[ModelInfo, ...]:
        """The declared models, in order of fallback."""
        current = await self._current() if self._lanes else None
        return tuple(_info(lane, lane.name == current) for lane in self._lanes.values())

    async def provider(self) -> ModelInfo | None:
        """The site-wide default; None when nothing is configured."""
        return next((m for m in await self.list_models() if m.current), None)

    async def switch(self, tx: Transaction, principal: Principal, model: str) -> ModelInfo:
        """Make `model` the site-wide default, in force in this process after the commit, in others within 5 s.

        The caller has checked `models.switch`. Raises UnknownModel, ModelNotConfigured.
        """
        if not self._lanes:
            raise ModelNotConfigured
        lane = self._lanes.get(model)
        if lane is None:
            raise UnknownModel
        await store.set_default(tx, model, principal.id, self._clock.now())
        record = RecordRef(type="model_default", id="site")
        event = AuditEvent(
            action="model.switched", actor=str(principal.id), via=principal.via, ip=principal.ip, record=record, versions={"model": model}
        )
        await self._ledger.append(tx, event)
        tx.after_commit(self._forget_default)
        return _info(lane, current=True)

    def _forget_default(self) -> None:
        self._default = _Default()

    def count_tokens(self, model: str | None, text: str) -> int:
        """A conservative estimate of the tokens of `text`, corrected by what the endpoint reported for earlier calls."""
        return self._estimator.text(model or "", text)

    async def spending(self, tx: Transaction, person_id: uuid.UUID | None = None) -> Spending:
        """Money of the day and, for a person, tokens of the sliding hour, with their caps."""
        now = self._clock.now()
        spent, reserved = await store.day_totals(tx, now)
        tokens = await store.hour_tokens(tx, person_id, now) if person_id is not None else None
        return Spending(
            day_spent=spent,
            day_reserved=reserved,
            day_cap=self._limits.cost_per_day,
            currency=self._currency(),
            hour_tokens=tokens,
            hour_tokens_cap=self._limits.model_tokens_per_hour,
        )

    def _currency(self) -> str:
        return next((lane.config.price.currency for lane in self._lanes.values()), "USD")

    async def usage(self, tx: Transaction, since: datetime, until: datetime, person_id: uuid.UUID | None = None) -> tuple[UsageTotal, ...]:
        """Finished calls started in [since, until), per model."""
        rows = await store.usage_by_model(tx, since, until, person_id)
        return tuple(
            UsageTotal(
                model=r.model,
                calls=r.calls,
                failed=r.failed,
                input_tokens=int(r.input_tokens),
                output_tokens=int(r.output_tokens),
                cost=Decimal(r.cost),
                currency=r.currency,
            )
            for r in rows
        )

    async def breakdown(self, tx: Transaction, since: datetime, until: datetime, *, people: int) -> UsageBreakdown:
        """Finished calls started in [since, until) by day, by model and by person; at most `people` of these."""
        parts: dict[str, list[UsagePart]] = {"day": [], "model": [], "person": []}
        for r in await store.usage_breakdown(tx, since, until):
            parts[r.part].append(
                UsagePart(
                    of=r.of, calls=r.calls, failed=r.failed, estimated=r.estimated, input_tokens=int(r.input_tokens),
                    output_tokens=int(r.output_tokens), cost=Decimal(r.cost), currency=r.currency,
                )
            )  # fmt: skip
        return UsageBreakdown(days=tuple(parts["day"]), models=tuple(parts["model"]), people=tuple(parts["person"][:people]))

    async def fullest_hours(self, tx: Transaction, limit: int) -> tuple[HourOfPerson, ...]:
        """Whose sliding hour of tokens is fullest."""
        hour = timedelta(hours=1)
        rows = await store.fullest_hours(tx, self._clock.now(), limit)
        return tuple(HourOfPerson(person_id=uuid.UUID(r.key), tokens=int(r.tokens), resets_at=r.oldest + hour) for r in rows)

    async def sweep(self) -> int:
        """Give back the reservations of dead processes; for a periodic job (every minute). How many there were."""
        return await self._budget.sweep()

    async def warm(self) -> None:
        """Import the SDKs the declared models need (a second or more each), so that the first question does not wait for it."""
        for lane in self._lanes.values():
            if lane.config.problem is None:
                await lane.adapter.warm()

    async def close(self) -> None:
        """Settle what is under way and close the connections."""
        await self._engine.close()
        await self._budget.close()
        for lane in self._lanes.values():
            await lane.adapter.close()


def _usable(wished: Lane, others: list[Lane]) -> list[Lane]:
    """Those with a key and a closed breaker; the wished one, to say why not, when there is none."""
    return [lane for lane in (wished, *others) if lane.config.problem is None and lane.breaker.seconds_left() == 0] or [wished]


def _info(lane: Lane, current: bool) -> ModelInfo:
    config = lane.config
    problem = config.problem
    if problem is None and lane.breaker.seconds_left() > 0:
        problem = "The last calls failed; it is tried again in less than a minute."
    flags = {"tools": config.tools, "constrained_tools": not config.tools and config.constrained, "thinking": bool(config.thinking)}
    flags["images"] = config.images
    return ModelInfo(
        name=config.name,
        provider=config.provider,
        model=config.model,
        context_tokens=config.context_tokens,
        tools=config.tools or config.constrained,
        patient_data=config.patient_data,
        available=problem is None,
        current=current,
        problem=problem,
        price_input_per_million=config.price.input,
        price_output_per_million=config.price.output,
        currency=config.price.currency,
        capabilities=tuple(name for name, has in flags.items() if has),
    )
