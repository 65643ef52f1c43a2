"""The state of one run while it executes: what is known, what was said so far, what it cost."""

import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from aliquot.chat.attachments.telling import Files
from aliquot.chat.contracts import Message
from aliquot.chat.emitter import RunEmitter
from aliquot.chat.run_store import Step
from aliquot.identity.contracts import Principal
from aliquot.policy.contracts import Approval


@dataclass(slots=True, kw_only=True)
class Turn:
    """One execution of one run."""

    run: Any
    """The row of `run`."""
    principal: Principal
    emitter: RunEmitter
    owner: uuid.UUID
    messages: list[Message] = field(default_factory=list)
    """The branch up to and including the user's message."""
    earlier: dict[uuid.UUID, list[Step]] = field(default_factory=dict)
    """Steps of the runs behind `messages`."""
    steps: list[Step] = field(default_factory=list)
    """Steps of this run."""
    files: Files = field(default_factory=dict)
    """What was read of the files of `messages`."""
    told: set[str] = field(default_factory=set)
    """Notices about files that were given already: each step of a run would give them again."""
    approval: Approval | None = None
    """The approval this run continues from, or the one it ended at."""
    said: list[str] = field(default_factory=list)
    closing: str = ""
    confidence: float | None = None
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    tainted: bool = False
    """Other people's words are in the history: what follows from it is not this person's wish alone."""
    repeated: bool = False
    """A model step was already repeated after a crash."""

    @property
    def run_id(self) -> uuid.UUID:
        run_id: uuid.UUID = self.run.id
        return run_id

    def say(self, text: str) -> None:
        """Add to the answer and send it."""
        if text:
            self.said.append(text)
            self.emitter.text(text)

    def close_with(self, paragraph: str) -> None:
        """End the answer with a paragraph of our own. It is sent in the transaction that ends the run, so that after a crash
        whatever was said before the end came from a model."""
        self.closing = ("\n\n" if self.said and paragraph else "") + paragraph

    @property
    def from_outside(self) -> bool:
        """Whether tools gave this run text from outside the site."""
        return any(result.get("from_outside") for step in self.steps for result in step.results)

    @property
    def text(self) -> str:
        return "".join(self.said) + self.closing

    @property
    def input_tokens(self) -> int:
        return sum(step.input_tokens for step in self.steps)

    @property
    def output_tokens(self) -> int:
        return sum(step.output_tokens for step in self.steps)

    @property
    def cost(self) -> Decimal:
        return sum((Decimal(step.cost) for step in self.steps), Decimal(0))

    @property
    def currency(self) -> str:
        return next((step.currency for step in self.steps if step.model is not None), "USD")
