"""Refusals of single sign-on. `code` is also what a front end finds as `sso_error` in the fragment it is sent back with."""

from aliquot.kernel.problems import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated, Unavailable


class SsoNotConfigured(NotFound):
    code, sentence = "sso_not_configured", "Single sign-on is not set up here."


class SsoUnavailable(Unavailable):
    code, sentence = "sso_unavailable", "The sign-in service of your organisation does not answer at the moment. Please try again later."


class LandingRefused(InvalidInput):
    code, sentence = "sso_next_refused", "next must be a path here, or a page of one of the origins in ALIQUOT_ORIGINS, without a fragment."


class SsoStateUnknown(Forbidden):
    code, sentence = "sso_state", "This sign-in was not begun in this browser, is over, or took too long. Please begin again."


class SsoDenied(Forbidden):
    """The provider refused; the member `cause` is its error code."""

    code, sentence = "sso_denied", "The sign-in service did not let you in."


class SsoTokenRefused(Forbidden):
    """What the provider sent does not prove who it is; the member `cause` says what is wrong with it."""

    code, sentence = "sso_refused", "The answer of the sign-in service could not be trusted, so you are not logged in."


class SsoNoRole(Forbidden):
    code, sentence = "sso_no_role", "Your organisation's sign-in gives you no role here. Please ask an administrator."


class SsoNobody(Forbidden):
    code, sentence = "sso_unknown_person", "There is no account for you here. Please ask an administrator."


class SsoEmailUnverified(Forbidden):
    code, sentence = "sso_email_unverified", "The sign-in service does not say that your e-mail address is verified."


class SsoNotLinked(Forbidden):
    code, sentence = "sso_not_linked", "An account with your e-mail address exists here. An administrator has to allow linking it."


class SsoDisabled(Forbidden):
    code, sentence = "sso_disabled", "Your account here is disabled."


class SsoCodeRefused(Unauthenticated):
    code, sentence = "sso_code", "This sign-in code is not valid any more. Please begin again."


class SsoSomebodyElse(Forbidden):
    code, sentence = "sso_somebody_else", "Somebody else authenticated than the person who is logged in here."


class NotFresh(Forbidden):
    code, sentence = "sso_not_fresh", "The sign-in service did not authenticate you anew."


class NoSsoIdentity(Conflict):
    code, sentence = "sso_no_identity", "You are not known to the sign-in service; sign with your password."


class WrongProof(Forbidden):
    code, sentence = "wrong_sso_proof", "This proof of a fresh sign-in is not valid here, was used, or is too old."
