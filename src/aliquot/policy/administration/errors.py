"""Refusals of changing the policy."""

from aliquot.kernel.problems import Conflict, Forbidden, InvalidInput
from aliquot.policy.errors import RecordedRefusal


class BundleInvalid(InvalidInput):
    """The member `problems` names every fault that was found."""

    code, sentence = "bundle_refused", "This policy bundle does not hold and was not taken."


class BundleExists(Conflict):
    """The member `id` names it; None for the bundle this site started with."""

    code, sentence = "bundle_exists", "This very bundle is here already."


class ActivationRefused(RecordedRefusal, Conflict):
    code, status, sentence = "activation_refused", 409, "This bundle cannot be activated."


class ReplayFirst(ActivationRefused):
    code, status, sentence = "replay_first", 409, "Replay the bundle against recent decisions first, so that it is seen what would change."


class ReplayOutdated(ActivationRefused):
    code, status, sentence = "replay_outdated", 409, "Another bundle was activated since this one was replayed. Replay it again."


class NotOpen(ActivationRefused):
    code, status, sentence = "bundle_not_open", 409, "Only a bundle that waits for its activation can be changed."


class SameAdministrator(ActivationRefused):
    code, status, sentence = "same_administrator", 409, "You have signed this already. A second administrator has to."


class NothingBefore(ActivationRefused):
    code, status, sentence = "nothing_before", 409, "There is no earlier bundle to go back to."


class WithdrawnBefore(ActivationRefused):
    code, status, sentence = "withdrawn_before", 409, "The bundle before this one was withdrawn, so nothing goes back to it."


class PolicyDenies(RecordedRefusal, Forbidden):
    """The members `reasons` and `policy_version` say what denied it."""

    code, status, sentence = "policy_denied", 403, "The policy in force does not let you change it."
