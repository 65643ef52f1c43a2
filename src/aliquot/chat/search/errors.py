"""Refusals of search."""

from aliquot.kernel.problems import InvalidInput, RateLimited


class QueryTooLong(InvalidInput):
    code, sentence = "query_too_long", "The search is too long."


class SearchUnderWay(RateLimited):
    code, sentence = "search_under_way", "Your searches before this one are still under way. Please try again in a moment."
