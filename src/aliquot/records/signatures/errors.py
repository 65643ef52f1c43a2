"""Refusals of signing. All that is refused after the record was found leaves an audit event."""

from aliquot.kernel.problems import Conflict, Forbidden, InvalidInput, NotFound


class UnknownKind(NotFound):
    code, sentence = "unknown_record_kind", "There is no such kind of record that can be signed."


class UnknownMeaning(InvalidInput):
    """The member `meanings` lists what this site signs for."""

    code, sentence = "unknown_meaning", "This site does not sign for that meaning."


class SecretRequired(InvalidInput):
    code, sentence = "signature_required", "Sign with your password, one-time password or a fresh single sign-on."


class MayNotSign(Forbidden):
    code, sentence = "may_not_sign", "You do not have the right to sign."


class AccountabilityRequired(Forbidden):
    code, sentence = "accountability_required", "Please read and accept the accountability text before you sign for the first time."


class ComponentsRequired(Forbidden):
    """The member `components` names what must be given together."""

    code, sentence = "components_required", "You have not signed here for a while: please give all parts of your signature again."


class VersionChanged(Conflict):
    """What the person saw is not what would be signed. Members `version` and `sha256` say what it is now."""

    code, sentence = "version_changed", "The record is not the version you saw any more. Please read it again before you sign."


class RecordAltered(Conflict):
    """The same version was signed before with other content: somebody changed a signed version."""

    code, sentence = "record_altered", "This version was signed before with another content and cannot be signed."


class NotSignable(Conflict):
    code, sentence = "not_signable", "This cannot be signed now."


class AlreadySigned(Conflict):
    code, sentence = "already_signed", "You have signed this version for that meaning already."


class SelfVerification(Forbidden):
    code, sentence = "self_verification", "Somebody else has to sign this: it is your own work."


class AuthorsOnly(Forbidden):
    code, sentence = "authors_only", "Only its authors can sign for authorship."


class SignedOtherwise(Forbidden):
    code, sentence = "signed_otherwise", "You signed this version for another meaning that excludes this one."


class TooEarly(Conflict):
    """The member `missing` names the meaning that has to be complete before."""

    code, sentence = "too_early", "Another signature has to be given first."


class RoleMissing(Forbidden):
    code, sentence = "role_missing", "This meaning needs a role that you do not have."


class AlreadyRevoked(Conflict):
    code, sentence = "already_revoked", "This signature was revoked already."


class NotTheSigner(Forbidden):
    code, sentence = "not_the_signer", "Only its signer can revoke a signature. Others can sign for rejection."
