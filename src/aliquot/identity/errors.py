"""Refusals of identity."""

from aliquot.kernel.problems import Conflict, Forbidden, InvalidInput, RateLimited, Unauthenticated


class LoginFailed(Unauthenticated):
    """Wrong password, unknown address or disabled person: which of them is not disclosed."""

    code, sentence = "login_failed", "The e-mail address or the password is wrong."


class Locked(RateLimited):
    """Too many failures for this account from this address."""

    code, sentence = "locked", "Too many failed attempts. Please wait before trying again."


class SessionRequired(Forbidden):
    """An API key asked for what only a person who has logged in may do."""

    code, sentence = "session_required", "This needs a login session; an API key cannot do it."


class PasswordChangeRequired(Forbidden):
    code, sentence = "password_change_required", "Please change your one-time password first."


class WrongPassword(Forbidden):
    code, sentence = "wrong_password", "The password is wrong."


class WeakPassword(InvalidInput):
    code, sentence = "weak_password", "This password is too weak."


class PersonExists(Conflict):
    code, sentence = "person_exists", "There is already a person with this e-mail address."


class LastAdmin(Conflict):
    code, sentence = "last_admin", "The last active administrator cannot be removed."


class TooManyKeys(Conflict):
    code, sentence = "too_many_keys", "This person has too many API keys; delete one first."
