"""Refusals about training."""

from aliquot.kernel.problems import Conflict, Forbidden, InvalidInput


class TrainingExpired(Forbidden):
    """The member `missing` names what the person has no training in date for."""

    code, sentence = "training_expired", "This needs a training that is in date."


class OwnTraining(Forbidden):
    code, sentence = "own_training", "Your own training is recorded by another administrator."


class UnknownSubject(InvalidInput):
    """The site has no such tool, protocol or instrument."""

    code, sentence = "unknown_training_subject", "There is nothing of that name here to be trained in."


class TrainingRevoked(Conflict):
    code, sentence = "training_revoked", "This training was revoked before."


class TrainingSuperseded(Conflict):
    code, sentence = "training_superseded", "A newer version of this training was recorded: only that one counts and can be revoked."


def missing_sentence(missing: tuple[str, ...]) -> str:
    """`missing` are keys such as `protocol:pcr-std-35`, or words that say what is not known."""
    return f"{TrainingExpired.sentence} Missing or expired: {', '.join(key.replace(':', ' ', 1) for key in missing)}."
