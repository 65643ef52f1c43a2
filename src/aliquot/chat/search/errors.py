"""Refusals of search."""

from aliquot.kernel.problems import InvalidInput


class QueryTooLong(InvalidInput):
    code, sentence = "query_too_long", "The search is too long."
