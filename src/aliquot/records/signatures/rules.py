"""Who may sign what for which meaning, and when a meaning is complete (settings `signing_rules`). Pure."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from aliquot.kernel.problems import Problem
from aliquot.platform.settings import SigningRule
from aliquot.records.signatures.contracts import Requirement, SignableRecord
from aliquot.records.signatures.errors import AlreadySigned, AuthorsOnly, RoleMissing, SelfVerification, SignedOtherwise, TooEarly
from aliquot.records.training.contracts import training_key
from aliquot.records.training.errors import TrainingExpired, missing_sentence

AUTHORSHIP = "authorship"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A signature that stands on the version in question."""

    signer_id: uuid.UUID
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules of a site."""

    meanings: tuple[str, ...]
    rules: tuple[SigningRule, ...]

    def of(self, kind: str, meaning: str) -> SigningRule:
        """The rule for this kind, else the one for every kind, else one that asks for nothing."""
        found = {rule.kind: rule for rule in self.rules if rule.meaning == meaning}
        return found.get(kind) or found.get("*") or SigningRule(meaning=meaning)

    def refusal(
        self, record: SignableRecord, given: Sequence[Given], meaning: str, *, signer_id: uuid.UUID, roles: Collection[str],
        trainings: frozenset[str],
    ) -> Problem | None:  # fmt: skip
        """Why this person may not sign this version for `meaning`; None when they may. The right to sign itself is not judged here."""
        rule, own = self.of(record.kind, meaning), {one.meaning for one in given if one.signer_id == signer_id}
        wrote = signer_id in record.authors or AUTHORSHIP in own
        missing = next((before for before in rule.after if not self.complete(record.kind, given, before)), None)
        if meaning in own:
            return AlreadySigned()
        if rule.author == "only" and record.authors and not wrote:
            return AuthorsOnly()
        if rule.author == "never" and wrote:
            return SelfVerification()
        if own.intersection(rule.not_also):
            return SignedOtherwise()
        if rule.roles and not set(rule.roles).intersection(roles):
            return RoleMissing()
        if untrained := tuple(sorted({training_key(*one.split(":", 1)) for one in rule.training} - trainings)):
            return TrainingExpired(missing_sentence(untrained), missing=list(untrained))
        return TooEarly(missing=missing) if missing is not None else None

    def complete(self, kind: str, given: Sequence[Given], meaning: str) -> bool:
        """Whether as many persons as the rule wants have signed for `meaning`."""
        return len(_signers(given, meaning)) >= self.of(kind, meaning).persons

    def requirements(
        self, record: SignableRecord, given: Sequence[Given], *, signer_id: uuid.UUID, roles: Collection[str], trainings: frozenset[str],
        may_sign: bool,
    ) -> tuple[Requirement, ...]:  # fmt: skip
        """Where every meaning stands, for one person."""
        shown = []
        for meaning in self.meanings:
            refusal = self.refusal(record, given, meaning, signer_id=signer_id, roles=roles, trainings=trainings)
            shown.append(
                Requirement(
                    meaning=meaning, required=self.of(record.kind, meaning).persons, given=len(_signers(given, meaning)),
                    complete=self.complete(record.kind, given, meaning),
                    refusal="may_not_sign" if not may_sign else None if refusal is None else refusal.code,
                )
            )  # fmt: skip
        return tuple(shown)


def _signers(given: Sequence[Given], meaning: str) -> set[uuid.UUID]:
    return {one.signer_id for one in given if one.meaning == meaning}
