"""Refusals of the laboratory."""

from aliquot.kernel.problems import Conflict, InvalidInput, NotFound, Unavailable


class UnknownInstrument(NotFound):
    code, sentence = "unknown_instrument", "There is no such instrument."


class AmbiguousInstrument(InvalidInput):
    """Carries the member `candidates`: the codes of the instruments that fit."""

    code, sentence = "ambiguous_instrument", "More than one instrument fits."


class UnknownProtocol(NotFound):
    code, sentence = "unknown_protocol", "There is no such protocol."


class UnknownInstrumentRun(NotFound):
    code, sentence = "unknown_instrument_run", "There is no such instrument run."


class InstrumentBusy(Conflict):
    code, sentence = "instrument_busy", "The instrument is busy."
    gives_way = True


class InstrumentInError(Conflict):
    code, sentence = "instrument_in_error", "The instrument is in error and cannot start a run."


class InstrumentOffline(Conflict):
    code, sentence = "instrument_offline", "The instrument is offline and cannot start a run."


class WrongInstrumentState(Conflict):
    """A change that the present state of the instrument does not allow."""

    code, sentence = "wrong_instrument_state", "The instrument's present state does not allow this."


class RunNotActive(Conflict):
    code, sentence = "run_not_active", "The run is already over."


class ProtocolMismatch(Conflict):
    code, sentence = "protocol_mismatch", "This protocol cannot run on that instrument."


class ProtocolExists(Conflict):
    code, sentence = "protocol_exists", "This protocol was changed meanwhile."


class Retired(Conflict):
    """Nothing new is done with what is retired; what was done with it stays."""

    code, sentence = "retired", "It is retired."


class VersionChanged(Conflict):
    code, sentence = "version_changed", "It was changed meanwhile. Read it again."


class InstrumentExists(Conflict):
    code, sentence = "instrument_exists", "There is already an instrument with this code."


class KeyReused(Conflict):
    code, sentence = "idempotency_key_reused", "This key was already used for another run."


class WrongParameters(InvalidInput):
    code, sentence = "wrong_parameters", "The run parameters do not fit the protocol."


class WrongSamples(InvalidInput):
    code, sentence = "wrong_samples", "The sample codes are not valid."


class InventoryRefused(InvalidInput):
    code, sentence = "inventory_refused", "The file cannot be imported."


class InstrumentUnreachable(Unavailable):
    """The driver did not answer, refused, or is not installed."""

    code, sentence = "instrument_unreachable", "The instrument does not answer at the moment."
