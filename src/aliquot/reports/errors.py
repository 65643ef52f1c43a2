"""Refusals of reports."""

from aliquot.kernel.problems import InvalidInput, Unavailable


class BadReportPeriod(InvalidInput):
    code = "bad_period"
    sentence = "The period must begin before it ends, lie in the past, and not be longer than the limit compliance_report_days."


class ReportBusy(Unavailable):
    code, sentence = "report_busy", "Another report is being made. Please try again in a minute."
