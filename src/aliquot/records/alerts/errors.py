"""Refusals about security alerts."""

from aliquot.kernel.problems import Conflict, Forbidden


class OwnAlert(Forbidden):
    code, sentence = "own_alert", "An alert about yourself is acknowledged by somebody else."


class AlreadyAcknowledged(Conflict):
    code, sentence = "already_acknowledged", "This alert was acknowledged before."
