"""Questions people ask, with the arguments they should lead to: what the router without a language model learns from.

Self-written. The codes are those of the demo laboratory; the router replaces them by what the site's vocabulary holds.
"""

from typing import Any

from aliquot.tools.contracts import Example


def _asked(arguments: dict[str, Any], *texts: str) -> list[Example]:
    return [Example(text=text, arguments=arguments) for text in texts]


STATUS: tuple[Example, ...] = (
    *_asked({"instrument": "PCR-02"}, "What is the status of PCR-02?", "Is PCR-02 free?", "pcr-02 status", "Is PCR-02 ready for a run?"),
    *_asked({"instrument": "SEQ-01"}, "How is SEQ-01 doing?", "Can I use SEQ-01 right now?", "Is SEQ-01 online?"),
    *_asked({"instrument": "HPLC-03"}, "When will HPLC-03 be finished?", "How long does HPLC-03 still need?", "What is HPLC-03 doing?"),
    *_asked({"instrument": "HPLC"}, "Is the HPLC busy?", "how far along is the HPLC"),
    *_asked({"instrument": "CENT-04"}, "What is wrong with CENT-04?", "Why is CENT-04 in error?", "Does CENT-04 have a problem?"),
    *_asked({"instrument": "centrifuge"}, "Is the centrifuge working?", "What's the matter with the centrifuge?"),
    *_asked({"instrument": "thermocycler"}, "Is the thermocycler available?", "Check the thermocycler for me"),
    *_asked({"instrument": "sequencer"}, "What state is the sequencer in?", "Is the sequencer idle?"),
    *_asked({"instrument": "HPLC-03"}, "What is running on HPLC-03?", "When was HPLC-03 last serviced?", "Where does HPLC-03 stand?"),
    *_asked({"instrument": "all"}, "Which instruments are free?", "Status of all instruments", "What is the state of the lab?"),
    *_asked({"instrument": "all"}, "Show me every instrument", "Are any machines in error?", "Which instruments do we have?"),
    *_asked({"instrument": "all"}, "What equipment is available right now?", "Which machines are busy?", "List the instruments"),
)

HISTORY: tuple[Example, ...] = (
    *_asked({"instrument": "SEQ-01"}, "Show the run history of SEQ-01", "What ran on SEQ-01?", "Past runs of SEQ-01"),
    *_asked({"instrument": "sequencer"}, "What ran on the sequencer last week?", "What has the sequencer done recently?"),
    *_asked({"instrument": "thermocycler"}, "Who used the thermocycler last?", "Earlier runs on the thermocycler"),
    *_asked({"instrument": "HPLC-03"}, "History of HPLC-03", "Which samples were measured on HPLC-03?"),
    *_asked({"state": "failed"}, "Show me failed runs", "Which runs failed?", "Did any run fail?", "What went wrong recently?"),
    *_asked({"state": "failed", "instrument": "SEQ-01"}, "Failed runs on SEQ-01", "Did SEQ-01 have any failed runs?"),
    *_asked({"state": "running"}, "Which runs are running now?", "What is running at the moment?"),
    *_asked({"state": "done"}, "List completed runs", "Which runs are finished?", "Show successful runs"),
    *_asked({"state": "done", "instrument": "PCR-02"}, "Completed runs on PCR-02", "Finished runs of PCR-02"),
    *_asked({"state": "stopped"}, "Which runs were stopped?", "Show aborted runs", "Runs that somebody cancelled"),
    *_asked({"limit": 5}, "Show the last 5 runs", "Give me the five most recent runs"),
    *_asked({"instrument": "PCR-02", "limit": 3}, "The last 3 runs on PCR-02"),
    *_asked({}, "Show recent runs", "Run history", "What has been run in the lab lately?", "Results of the latest runs"),
)

PROTOCOLS: tuple[Example, ...] = (
    *_asked({"instrument": "PCR-02"}, "What can run on PCR-02?", "Which protocols does PCR-02 have?", "Protocols for PCR-02"),
    *_asked({"instrument": "thermocycler"}, "Which protocols run on the thermocycler?", "What methods are there for the thermocycler?"),
    *_asked({"instrument": "HPLC-03"}, "Which methods can I use on HPLC-03?", "Protocols available on HPLC-03"),
    *_asked({"instrument": "sequencer"}, "What can I run on the sequencer?"),
    *_asked(
        {"query": "PCR-STD-35"},
        "Show me the protocol PCR-STD-35",
        "What are the steps of PCR-STD-35?",
        "How long does PCR-STD-35 take?",
    ),
    *_asked({"query": "BEAD-CLEANUP"}, "Steps of BEAD-CLEANUP", "Explain the protocol BEAD-CLEANUP"),
    *_asked({"query": "HPLC-GRAD-10"}, "What parameters does HPLC-GRAD-10 have?", "Which temperature does HPLC-GRAD-10 use?"),
    *_asked({"query": "LIB-PREP-DNA"}, "Details of LIB-PREP-DNA", "Describe LIB-PREP-DNA"),
    *_asked({"query": "library"}, "Is there a protocol for library preparation?", "Find protocols about library prep"),
    *_asked({"query": "gradient"}, "Which protocol uses a gradient?"),
    *_asked({}, "Which protocols are there?", "List all protocols", "Show me the methods of the lab", "What procedures do we have?"),
)

START: tuple[Example, ...] = (
    *_asked({"instrument": "PCR-02", "protocol": "PCR-STD-35"}, "Start PCR-STD-35 on PCR-02", "Run PCR-STD-35 on PCR-02"),
    *_asked(
        {"instrument": "PCR-02", "protocol": "PCR-STD-35"}, "Please begin a run on PCR-02 with PCR-STD-35", "Launch PCR-STD-35 on PCR-02"
    ),
    *_asked(
        {"instrument": "PCR-02", "protocol": "PCR-STD-35"}, "Can you start a PCR-STD-35 run on PCR-02?", "Kick off PCR-STD-35 on PCR-02 now"
    ),
    *_asked(
        {"instrument": "PCR-02", "protocol": "PCR-STD-35"},
        "Start protocol PCR-STD-35 on PCR-02",
        "Start a run of protocol PCR-STD-35 on PCR-02",
    ),
    *_asked({"instrument": "HPLC-03", "protocol": "HPLC-GRAD-10"}, "Run the protocol HPLC-GRAD-10 on HPLC-03"),
    *_asked(
        {"instrument": "thermocycler", "protocol": "PCR-STD-35"},
        "Start PCR-STD-35 on the thermocycler",
        "Run PCR-STD-35 on the thermocycler",
    ),
    *_asked(
        {"instrument": "HPLC-03", "protocol": "HPLC-GRAD-10"}, "Start HPLC-GRAD-10 on HPLC-03", "I want to run HPLC-GRAD-10 on HPLC-03"
    ),
    *_asked({"instrument": "CENT-04", "protocol": "BEAD-CLEANUP"}, "Start BEAD-CLEANUP on CENT-04", "Do a BEAD-CLEANUP on CENT-04"),
    *_asked({"instrument": "SEQ-01", "protocol": "SEQ-PE150"}, "Begin SEQ-PE150 on SEQ-01", "Start a SEQ-PE150 run on SEQ-01"),
    *_asked({"instrument": "PCR-02", "protocol": "PCR-STD-35", "samples": ["S-0001"]}, "Start PCR-STD-35 on PCR-02 with sample S-0001"),
    *_asked(
        {"instrument": "PCR-02", "protocol": "PCR-STD-35", "samples": ["S-0001", "S-0002"]},
        "Start PCR-STD-35 on PCR-02 with S-0001 and S-0002",
        "Run PCR-STD-35 on PCR-02 for samples S-0001, S-0002",
    ),
    *_asked(
        {"instrument": "HPLC-03", "protocol": "HPLC-GRAD-10", "samples": ["S-0010", "S-0011"]},
        "Inject S-0010 and S-0011 on HPLC-03 with HPLC-GRAD-10",
    ),
    *_asked(
        {"instrument": "PCR-02", "protocol": "PCR-STD-35", "parameters": {"cycles": 30}},
        "Start PCR-STD-35 on PCR-02 with cycles 30",
        "Run PCR-STD-35 on PCR-02, cycles = 30",
    ),
)

_REASON = "wrong samples"

STOP: tuple[Example, ...] = (
    *_asked({"run": "R-2026-0007", "reason": _REASON}, "Stop R-2026-0007: wrong samples", "Stop run R-2026-0007 because wrong samples"),
    *_asked({"run": "R-2026-0007", "reason": _REASON}, "Abort R-2026-0007, reason: wrong samples", "Cancel run R-2026-0007: wrong samples"),
    *_asked({"run": "R-2026-0011", "reason": "pressure too high"}, "Please stop R-2026-0011 because pressure too high"),
    *_asked({"run": "R-2026-0011", "reason": "pressure too high"}, "Abort run R-2026-0011: pressure too high"),
    *_asked({"run": "R-2026-0012", "reason": "leaking column"}, "Halt R-2026-0012, reason: leaking column"),
    *_asked({"run": "R-2026-0012", "reason": "leaking column"}, "End the run R-2026-0012 because leaking column"),
    *_asked({"run": "R-2026-0003", "reason": "power cut"}, "Terminate R-2026-0003: power cut", "Stop R-2026-0003 due to power cut"),
    *_asked({"run": "R-2026-0021", "reason": "operator request"}, "Stop the run R-2026-0021: operator request"),
    *_asked({"run": "R-2026-0021", "reason": "operator request"}, "Can you abort R-2026-0021? Reason: operator request"),
    *_asked({"run": "R-2026-0015", "reason": "wrong protocol"}, "Stop R-2026-0015 now because wrong protocol"),
    *_asked(
        {"run": "R-2026-0015", "reason": "wrong protocol"}, "Kill run R-2026-0015: wrong protocol", "Interrupt R-2026-0015: wrong protocol"
    ),
    *_asked({"run": "R-2026-0009", "reason": "samples mixed up"}, "I need R-2026-0009 stopped because samples mixed up"),
)
