"""Refusals of erasures."""

from aliquot.kernel.problems import Conflict


class MustBeKept(Conflict):
    """Members: `obstacles`, a list of what must be kept and until when."""

    code, sentence = "must_be_kept", "This person cannot be erased yet: a duty to keep records or a legal hold stands."


class AlreadyErased(Conflict):
    code, sentence = "already_erased", "This person was erased before."
