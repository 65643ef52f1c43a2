"""Refusals of external MCP servers."""

from aliquot.kernel.problems import Conflict, Forbidden, NotFound, Problem, Unavailable


class PeerAway(Unavailable):
    """Nothing was sent."""

    code, sentence = "tool_unavailable", "The external server cannot be reached."


class PeerRefused(Problem):
    """The server answered, and says no. What it says is text from outside."""

    code, status, sentence = "external_refused", 502, "The external server refuses this."


class PatientDataStays(Forbidden):
    code, sentence = "patient_data_stays", "This may hold data of patients, and this external server may not receive such data."


class UnknownExternalTool(NotFound):
    code, sentence = "unknown_tool", "No external server with such a tool is declared."


class NothingToAccept(Conflict):
    code, sentence = "nothing_to_accept", "This is not what the server offers at this moment. Look again before accepting."


class PinnedInSettings(Conflict):
    code, sentence = "pinned_in_settings", "The settings name the only definition that is accepted for this tool: change it there."
