"""Refusals of exports and imports."""

from aliquot.kernel.problems import Problem


class ExportTooLarge(Problem):
    code, status, sentence = "export_too_large", 413, "This conversation is too large to be exported in one file."


class NotAnExport(Problem):
    code, status, sentence = "not_an_export", 422, "This file is not a conversation exported by Aliquot."


class MailNotConfigured(Problem):
    code, status, sentence = "mail_not_configured", 409, "This server sends no e-mail: an administrator has to set SMTP_URL."


class MailRefused(Problem):
    code, status = "mail_recipient_refused", 403
    sentence = "Exports are sent only to your own address, to people of this site, and to the domains an administrator allowed."
