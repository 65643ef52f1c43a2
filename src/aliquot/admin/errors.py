"""Refusals of administration."""

from aliquot.kernel.problems import InvalidInput


class BadPeriod(InvalidInput):
    code, sentence = "bad_period", "The period must end after it begins and must not be longer than the limit usage_days."
