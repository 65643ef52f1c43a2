"""Refusals of identity."""

from aliquot.kernel.problems import Conflict, Forbidden, InvalidInput, RateLimited, Unauthenticated


class LoginFailed(Unauthenticated):
    """Wrong password, unknown address or disabled person: which of them is not disclosed."""

    code, sentence = "login_failed", "The e-mail address or the password is wrong."


class Locked(RateLimited):
    """Too many failures for this account from this address."""

    code, sentence = "locked", "Too many failed attempts. Please wait before trying again."


class OtpRequired(Unauthenticated):
    """The password was right; this person's log-in also needs the one-time password."""

    code, sentence = "otp_required", "Please also give the one-time password of your authenticator app."


class OtpFailed(Unauthenticated):
    code, sentence = "otp_failed", "The one-time password is wrong or was used before."


class SessionRequired(Forbidden):
    """An API key asked for what only a person who has logged in may do."""

    code, sentence = "session_required", "This needs a login session; an API key cannot do it."


class PasswordChangeRequired(Forbidden):
    code, sentence = "password_change_required", "Please change your one-time password first."


class WrongPassword(Forbidden):
    code, sentence = "wrong_password", "The password is wrong."


class WrongOtp(Forbidden):
    code, sentence = "wrong_otp", "The one-time password is wrong or was used before. Please wait for the next one."


class NotEnrolled(Conflict):
    code, sentence = "otp_not_enrolled", "There is no second factor set up for this person."


class OtpEnrolled(Conflict):
    code, sentence = "otp_enrolled", "There is a second factor already; remove it first."


class HoldStands(Conflict):
    """Whoever gave a person new credentials may not also let them sign with those (21 CFR 11.200(a)(3): it takes two)."""

    code, sentence = "hold_stands", "Another administrator must give the right to sign back after credentials were reset."


class WeakPassword(InvalidInput):
    code, sentence = "weak_password", "This password is too weak."


class PersonExists(Conflict):
    code, sentence = "person_exists", "There is already a person with this e-mail address."


class LastAdmin(Conflict):
    code, sentence = "last_admin", "The last active administrator cannot be removed."


class TooManyKeys(Conflict):
    code, sentence = "too_many_keys", "This person has too many API keys; delete one first."
