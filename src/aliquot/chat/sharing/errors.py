"""Refusals of sharing."""

from aliquot.kernel.problems import Conflict, Forbidden, InvalidInput, NotFound, Problem


class UnknownShare(NotFound):
    code, sentence = "unknown_share", "This link leads nowhere, or it is not for you."


class ShareEnded(Problem):
    code, status, sentence = "share_ended", 410, "This link was revoked or has expired."


class ShareSuspended(Forbidden):
    code, sentence = "share_suspended", "This link is suspended at the moment."


class SharedWithNobody(InvalidInput):
    code, sentence = "shared_with_nobody", "Say who may see it: `users` (ids or e-mail addresses), or `public: true`; not both."


class PublicIsReadOnly(InvalidInput):
    code, sentence = (
        "public_is_read_only",
        "A public link shows the conversation as it is now, for reading: live and may_write need users.",
    )


class UnknownPeople(InvalidInput):
    code, sentence = "unknown_people", "Some of these people do not exist here or are disabled."


class SharedWithOneself(InvalidInput):
    code, sentence = "shared_with_oneself", "The conversation is yours already."


class TooManyPeople(InvalidInput):
    code, sentence = "too_many_people", "A conversation cannot be shared with this many people at once."


class PermissionsMissing(Conflict):
    code, sentence = (
        "permissions_missing",
        "Some of these people lack a permission that was used in this conversation.",
    )


class NotForEverybody(PermissionsMissing):
    sentence = "What was used in this conversation needs permissions, so it cannot have a public link."


class MayHoldPatientData(Conflict):
    code, sentence = "may_hold_patient_data", "This conversation holds, or may hold, data of a patient, so it cannot have a public link."


class NothingToShare(Conflict):
    code, sentence = "nothing_to_share", "There is no message in this conversation yet that could be shared; a live share can begin empty."


class TooManyShares(Conflict):
    code, sentence = "too_many_shares", "This conversation has too many shares; revoke some first."


class TooLongToCopy(Conflict):
    code, sentence = "too_long_to_copy", "This conversation is too long to be continued as a copy."
