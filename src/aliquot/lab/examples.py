"""Questions people ask, with the arguments they should lead to: what the router without a language model learns from.

Self-written. The codes are those of the demo laboratory; the router replaces them by what the site's vocabulary holds.
"""

import re
from typing import Any

from aliquot.tools.contracts import Example


def _asked(arguments: dict[str, Any], questions: str) -> list[Example]:
    """Examples, a bar or a new line between them."""
    return [Example(text=text.strip(), arguments=arguments) for text in re.split(r"[|\n]+", questions) if text.strip()]


STATUS: tuple[Example, ...] = (
    *_asked(
        {"instrument": "PCR-02"},
        """
        What is the status of PCR-02? | Is PCR-02 free? | pcr-02 status | Is PCR-02 ready for a run? | PCR-02 | PCR-02 ready? |
        free: PCR-02? | state of PCR-02 | Is PCR-02 busy or idle? | Is PCR-02 being used? | Is somebody using PCR-02? |
        Who has PCR-02 at the moment? | Is PCR-02 taken right now? | Is PCR-02 working properly? | Is PCR-02 in good order? |
        Can we work on PCR-02? | May I have PCR-02 now? | Could I get on PCR-02 today? | I want to use PCR-02, is it available? |
        We need PCR-02. Is it free? | Let me know if PCR-02 is free | Tell me if PCR-02 is running |
        See whether PCR-02 is occupied | Have a look at PCR-02 | Show PCR-02 | Show me the state of PCR-02 |
        Give me the status of PCR-02 | An update on PCR-02 please | Information about PCR-02 | What about PCR-02 now? |
        What's up with PCR-02? | How does PCR-02 look?
        """,
    ),
    *_asked(
        {"instrument": "SEQ-01"},
        """
        How is SEQ-01 doing? | Can I use SEQ-01 right now? | Is SEQ-01 online? | How is SEQ-01? | Is SEQ-01 ok? |
        SEQ-01 all right? | Is SEQ-01 switched on? | Is SEQ-01 offline? | Is SEQ-01 still running? | Is SEQ-01 already done? |
        Has SEQ-01 stopped? | Is SEQ-01 finished now? | Did SEQ-01 finish? | Is SEQ-01 warming up? | Is SEQ-01 hot already? |
        What is SEQ-01 up to? | What goes on at SEQ-01? | Which room is SEQ-01 in? | Where is SEQ-01? | Location of SEQ-01 |
        Where can I find SEQ-01?
        """,
    ),
    *_asked(
        {"instrument": "HPLC-03"},
        """
        When will HPLC-03 be finished? | How long does HPLC-03 still need? | What is HPLC-03 doing? | What is running on HPLC-03? |
        Is anything running on HPLC-03? | Is there a run on HPLC-03 at the moment? | Which protocol is HPLC-03 running now? |
        What is HPLC-03 busy with? | What does HPLC-03 work on? | When was HPLC-03 last serviced? | Last service of HPLC-03 |
        Where does HPLC-03 stand? | When is HPLC-03 free again? | When does HPLC-03 become available? | When can we use HPLC-03? |
        When does the run on HPLC-03 end? | What is the progress of HPLC-03? | How far is HPLC-03? | How much longer does HPLC-03 run? |
        How much longer will HPLC-03 need? | Time left on HPLC-03 | Remaining time of HPLC-03 | How many hours until HPLC-03 is done? |
        Is HPLC-03 almost done? | Has HPLC-03 completed its run? | Will HPLC-03 be done soon? | Who is running something on HPLC-03 now? |
        Who occupies HPLC-03? | When is the run on HPLC-03 done? | Is the run on HPLC-03 done? |
        Who started the run on HPLC-03? | Whose run is on HPLC-03? | How much is left on HPLC-03? | How much time is left on HPLC-03? |
        How much is left of the run on HPLC-03? | How many minutes are left on HPLC-03?
        """,
    ),
    *_asked({"instrument": "HPLC"}, "Is the HPLC busy?\nhow far along is the HPLC\nis our HPLC still busy\nhow is the HPLC today"),
    *_asked(
        {"instrument": "CENT-04"},
        """
        What is wrong with CENT-04? | Why is CENT-04 in error? | Does CENT-04 have a problem? | Is CENT-04 broken? |
        Is CENT-04 faulty? | Is there an error on CENT-04? | Which fault does CENT-04 have? | What error does CENT-04 show? |
        CENT-04 error | Why is CENT-04 not working? | Why does CENT-04 not run? | CENT-04 does not work, why? |
        Did CENT-04 fail? | Has CENT-04 crashed? | Is CENT-04 down? | What happened to CENT-04? |
        How long has CENT-04 been in error? | Is CENT-04 repaired yet? | Does CENT-04 work again?
        """,
    ),
    *_asked(
        {"instrument": "centrifuge"},
        """
        Is the centrifuge working? | What's the matter with the centrifuge? | is the centrifuge usable | centrifuge: is it ok? |
        problem with the centrifuge?
        """,
    ),
    *_asked({"instrument": "thermocycler"}, "Is the thermocycler available?\nCheck the thermocycler for me\nstatus of our thermocycler"),
    *_asked({"instrument": "sequencer"}, "What state is the sequencer in?\nIs the sequencer idle?\nis the sequencer up\nsequencer free?"),
    *_asked(
        {"instrument": "all"},
        """
        Which instruments are free? | Status of all instruments | What is the state of the lab? | Show me every instrument |
        Are any machines in error? | Which instruments do we have? | What equipment is available right now? |
        Which machines are busy? | List the instruments | instruments | all instruments | instrument overview |
        overview of our devices | equipment status | lab status | How is the lab doing? | How is the equipment? |
        How do the machines look today? | What is free? | What is free at the moment? | Anything free? | Is something free? |
        What is available? | What can I use now? | Is any machine idle? | Which devices are running? |
        Which instruments are in use? | Which machines are occupied right now? | Which instrument is in error? |
        Which equipment is broken? | Is anything broken? | Are there problems with the machines? | Are all machines working? |
        Is everything ok in the lab? | Do all the instruments work? | Are any instruments offline? |
        What machines are in the lab? | What devices exist here? | Show the machines and what they do |
        Give me the state of every device | What are the instruments doing? | Is there a free device?
        """,
    ),
    *_asked(
        {"instrument": "PCR-02", "protocol": "PCR-STD-35"},
        """
        Can I start PCR-STD-35 on PCR-02? | Can we run PCR-STD-35 on PCR-02 now? | Could PCR-STD-35 be started on PCR-02? |
        Is PCR-02 free for PCR-STD-35? | May I run PCR-STD-35 on PCR-02? | Is PCR-02 available for PCR-STD-35?
        """,
    ),
)

HISTORY: tuple[Example, ...] = (
    *_asked(
        {"instrument": "SEQ-01"},
        """
        Show the run history of SEQ-01 | What ran on SEQ-01? | Past runs of SEQ-01 | runs on SEQ-01 | SEQ-01 runs |
        SEQ-01 run history | history of runs, SEQ-01 | run log SEQ-01 | the log for SEQ-01 | List runs on SEQ-01 |
        list every run of SEQ-01 | all the runs on SEQ-01 | Which runs were there on SEQ-01? | What runs has SEQ-01 done? |
        What has SEQ-01 run? | What did SEQ-01 do before? | What was SEQ-01 used for? | What have we run on SEQ-01? |
        What did people run on SEQ-01? | What was run on SEQ-01 so far? | What was done on SEQ-01? |
        What was analysed on SEQ-01? | What was measured with SEQ-01? | results of SEQ-01 | SEQ-01 results please |
        Show results for SEQ-01 | What did SEQ-01 measure?
        """,
    ),
    *_asked({"instrument": "sequencer"}, "What ran on the sequencer?\nWhat has the sequencer done recently?\nthe sequencer's runs"),
    *_asked(
        {"instrument": "thermocycler"},
        "Who used the thermocycler last?\nEarlier runs on the thermocycler\nwhat was done with the thermocycler\nthermocycler runs",
    ),
    *_asked(
        {"instrument": "HPLC-03"},
        """
        History of HPLC-03 | HPLC-03 history | Which samples were measured on HPLC-03? | Who has run something on HPLC-03? |
        Who was on HPLC-03 before? | previous HPLC-03 runs | earlier runs HPLC-03 | recent runs of HPLC-03 |
        Did anybody use HPLC-03 lately?
        """,
    ),
    *_asked(
        {"state": "failed"},
        """
        Show me failed runs | Which runs failed? | Did any run fail? | What went wrong recently? | failed runs | failures |
        What has failed? | Did anything fail lately? | Have there been failures? | Were any runs unsuccessful? |
        Are there failed runs? | Runs that went wrong | List the failures | which runs crashed
        """,
    ),
    *_asked(
        {"state": "failed", "instrument": "SEQ-01"},
        """
        Failed runs on SEQ-01 | SEQ-01 failed runs | Did SEQ-01 have any failed runs? | Which runs failed on SEQ-01? |
        Have there been failures on SEQ-01? | Did anything fail on SEQ-01? | failures of SEQ-01
        """,
    ),
    *_asked({"state": "failed", "instrument": "centrifuge"}, "failed runs of the centrifuge\nwhich centrifuge runs failed"),
    *_asked(
        {"state": "running"},
        """
        Is anything running? | Is anything running at the moment? | Are runs running? | Is a run running now? |
        Which runs are running now? | What is running at the moment? | running runs | Which runs are ongoing? |
        Are there runs in progress? | Show the runs that are under way
        """,
    ),
    *_asked(
        {"state": "done"},
        "List completed runs | Which runs are finished? | Show successful runs | completed runs | which runs were successful",
    ),
    *_asked(
        {"state": "done", "instrument": "PCR-02"},
        "Completed runs on PCR-02\nFinished runs of PCR-02\nWhich runs are done on PCR-02?\nPCR-02 completed runs",
    ),
    *_asked(
        {"state": "stopped"},
        """
        Which runs were stopped? | Show aborted runs | Runs that somebody cancelled | stopped runs | Was any run aborted? |
        Have runs been cancelled?
        """,
    ),
    *_asked({"state": "paused"}, "paused runs\nwhich runs are paused\nis a run on hold"),
    *_asked({"state": "queued"}, "queued runs\nwhich runs are waiting"),
    *_asked(
        {"limit": 5},
        """
        Show the last 5 runs | Give me the five most recent runs | last 5 runs | newest 5 runs | 5 runs | the latest five |
        I would like to see the last 5 runs
        """,
    ),
    *_asked(
        {"limit": 1}, "the last run\nWhat was the most recent run?\nshow the latest run\nWhen was the last run?\nWho did the last run?"
    ),
    *_asked(
        {"instrument": "PCR-02", "limit": 3},
        "The last 3 runs on PCR-02\nPCR-02 last 3 runs\nlast 3 PCR-02 runs\nthe three latest PCR-02 runs\nmost recent 3 runs of PCR-02",
    ),
    *_asked(
        {"instrument": "PCR-02", "limit": 1},
        """
        last run on PCR-02 | When did the last run on PCR-02 end? | How was the latest run of PCR-02? |
        What was PCR-02's last run? | result of the last run on PCR-02 | details of the newest run on PCR-02
        """,
    ),
    *_asked({"instrument": "thermocycler", "limit": 3}, "last 3 runs of the thermocycler\nthermocycler: last 3 runs"),
    *_asked(
        {},
        """
        Show recent runs | Run history | What has been run in the lab lately? | Results of the latest runs | runs | all the runs |
        list the runs | show runs | recent runs | past runs | run log | run overview | earlier runs please |
        What runs were there? | Which runs have we done? | What was run? | Who ran something lately? | Who has run what? |
        What did the lab run recently? | previous experiments
        """,
    ),
)

RUN: tuple[Example, ...] = (
    *_asked(
        {"run": "R-2026-0007"},
        """
        R-2026-0007 | run R-2026-0007 | show R-2026-0007 | Show run R-2026-0007 | status of R-2026-0007 | R-2026-0007 status |
        What is the state of R-2026-0007? | How is R-2026-0007 doing? | When does R-2026-0007 end? | When will R-2026-0007 be done? |
        When is R-2026-0007 finished? | How long does R-2026-0007 still take? | time left for R-2026-0007 | progress of R-2026-0007 |
        How far is R-2026-0007? | Is R-2026-0007 done? | Is R-2026-0007 running? | Is R-2026-0007 still going? |
        Has R-2026-0007 ended? | Did R-2026-0007 finish? | Did R-2026-0007 fail? | Has R-2026-0007 failed? | Was R-2026-0007 aborted? |
        Was R-2026-0007 successful? | Who started R-2026-0007? | Who ran R-2026-0007? | Who is the operator of R-2026-0007? |
        Whose run is R-2026-0007? | Who stopped R-2026-0007?
        """,
    ),
    *_asked(
        {"run": "R-2026-0003"},
        """
        results of R-2026-0003 | Show me the results of R-2026-0003 | What did R-2026-0003 measure? | What was the result of R-2026-0003? |
        R-2026-0003 results | Which samples did R-2026-0003 have? | samples of R-2026-0003 | What was in R-2026-0003? |
        What protocol did R-2026-0003 use? | Which protocol is R-2026-0003? | Which instrument was R-2026-0003 on? |
        Where did R-2026-0003 run? | parameters of R-2026-0003 | Which settings had R-2026-0003? | When did R-2026-0003 start? |
        When was R-2026-0003 run? | How long was R-2026-0003? | When did R-2026-0003 end? | details of R-2026-0003 |
        Tell me about R-2026-0003 | Information on R-2026-0003 | What happened with R-2026-0003? | Why did R-2026-0003 fail? |
        What went wrong with R-2026-0003? | What is R-2026-0003? | How did R-2026-0003 go? | look up R-2026-0003 |
        an update on R-2026-0003 please
        """,
    ),
    *_asked({"run": "R-2026-0007", "earlier": 1}, "the run before R-2026-0007\nwhich run came before R-2026-0007?"),
)

PROTOCOLS: tuple[Example, ...] = (
    *_asked(
        {"instrument": "PCR-02"},
        """
        What can run on PCR-02? | Which protocols does PCR-02 have? | Protocols for PCR-02 | PCR-02 protocols |
        What protocols run on PCR-02? | Which protocols are possible on PCR-02? | Which protocols work on PCR-02? |
        What can I do on PCR-02? | What can I do with PCR-02? | What is PCR-02 able to run? | What can PCR-02 run? |
        What is possible on PCR-02? | Which methods can PCR-02 do? | methods on PCR-02 | methods of PCR-02 |
        Does PCR-02 have protocols? | Show the procedures of PCR-02 | List protocols that fit PCR-02 |
        Which protocol should fit PCR-02? | programs for PCR-02 | what programs does PCR-02 have
        """,
    ),
    *_asked(
        {"instrument": "thermocycler"},
        """
        Which protocols run on the thermocycler? | What methods are there for the thermocycler? | thermocycler methods |
        protocols of the thermocycler | is there a protocol for the thermocycler
        """,
    ),
    *_asked({"instrument": "HPLC-03"}, "Which methods can I use on HPLC-03?\nProtocols available on HPLC-03\nHPLC-03 available protocols"),
    *_asked({"instrument": "sequencer"}, "What can I run on the sequencer?\nwhat can be done on the sequencer\nsequencer protocols"),
    *_asked(
        {"query": "PCR-STD-35"},
        """
        Show me the protocol PCR-STD-35 | What are the steps of PCR-STD-35? | How long does PCR-STD-35 take? | PCR-STD-35 |
        protocol PCR-STD-35 | PCR-STD-35 protocol | PCR-STD-35 steps | PCR-STD-35 parameters | PCR-STD-35 details |
        PCR-STD-35 duration | show PCR-STD-35 | open PCR-STD-35 | the protocol called PCR-STD-35 | What is PCR-STD-35? |
        What is PCR-STD-35 for? | What does PCR-STD-35 do? | What is in PCR-STD-35? | What happens during PCR-STD-35? |
        What does PCR-STD-35 involve? | How does PCR-STD-35 work? | How is PCR-STD-35 done? | How many steps has PCR-STD-35? |
        How many cycles are in PCR-STD-35? | How many samples can PCR-STD-35 take? | How many samples go into PCR-STD-35? |
        What is the temperature of the second step of PCR-STD-35? | annealing temperature of PCR-STD-35 |
        Which temperature is used in PCR-STD-35? | Which machine does PCR-STD-35 run on? | Which instrument is PCR-STD-35 for? |
        Where can I run PCR-STD-35? | What do I need for PCR-STD-35? | What can be set in PCR-STD-35?
        """,
    ),
    *_asked(
        {"query": "BEAD-CLEANUP"},
        """
        Steps of BEAD-CLEANUP | Explain the protocol BEAD-CLEANUP | explain BEAD-CLEANUP |
        Tell me about the BEAD-CLEANUP protocol | tell me more about BEAD-CLEANUP | information on BEAD-CLEANUP |
        Could I see BEAD-CLEANUP? | Let me see the BEAD-CLEANUP procedure | walk me through BEAD-CLEANUP |
        How long is the BEAD-CLEANUP protocol? | How much time does BEAD-CLEANUP need? | how long will BEAD-CLEANUP take
        """,
    ),
    *_asked(
        {"query": "HPLC-GRAD-10"},
        """
        What parameters does HPLC-GRAD-10 have? | Which temperature does HPLC-GRAD-10 use? | What flow does HPLC-GRAD-10 run at? |
        What pressure is set in HPLC-GRAD-10? | Which speed does HPLC-GRAD-10 use? | settings for HPLC-GRAD-10 |
        parameters of HPLC-GRAD-10 | the values in HPLC-GRAD-10
        """,
    ),
    *_asked(
        {"query": "LIB-PREP-DNA"},
        "Details of LIB-PREP-DNA\nDescribe LIB-PREP-DNA\ndescribe the LIB-PREP-DNA procedure\nLIB-PREP-DNA please",
    ),
    *_asked({"query": "library"}, "Is there a protocol for library preparation?\nFind protocols about library prep"),
    *_asked({"query": "gradient"}, "Which protocol uses a gradient?"),
    *_asked(
        {},
        """
        Which protocols are there? | List all protocols | Show me the methods of the lab | What procedures do we have? |
        protocols | all protocols | methods | list of protocols | protocol overview | available protocols | show the protocols |
        What can be run here? | What can we run? | What could I run in this lab? | Are there any protocols? |
        Which procedures exist? | What methods do you know? | give me the list of methods | our SOPs please
        """,
    ),
)

START: tuple[Example, ...] = (
    *_asked(
        {"instrument": "PCR-02", "protocol": "PCR-STD-35"},
        """
        Start PCR-STD-35 on PCR-02 | Run PCR-STD-35 on PCR-02 | Please begin a run on PCR-02 with PCR-STD-35 |
        Launch PCR-STD-35 on PCR-02 | Can you start a PCR-STD-35 run on PCR-02? | Kick off PCR-STD-35 on PCR-02 now |
        Start protocol PCR-STD-35 on PCR-02 | Start a run of protocol PCR-STD-35 on PCR-02 |
        Start the protocol PCR-STD-35 on PCR-02 | Start PCR-02 with PCR-STD-35 | Start PCR-02 using the protocol PCR-STD-35 |
        Run PCR-STD-35 at PCR-02 | Start a new PCR-STD-35 run on PCR-02 | Execute the protocol PCR-STD-35 on PCR-02 |
        Get PCR-STD-35 going on PCR-02 | I want PCR-STD-35 started on PCR-02 | On PCR-02 run PCR-STD-35
        """,
    ),
    *_asked(
        {"instrument": "HPLC-03", "protocol": "HPLC-GRAD-10"},
        "Run the protocol HPLC-GRAD-10 on HPLC-03\nStart HPLC-GRAD-10 on HPLC-03\n"
        "I want to run HPLC-GRAD-10 on HPLC-03\nbegin the HPLC-GRAD-10 on HPLC-03",
    ),
    *_asked(
        {"instrument": "thermocycler", "protocol": "PCR-STD-35"},
        "Start PCR-STD-35 on the thermocycler\nRun PCR-STD-35 on the thermocycler\nstart the thermocycler with PCR-STD-35",
    ),
    *_asked({"instrument": "CENT-04", "protocol": "BEAD-CLEANUP"}, "Start BEAD-CLEANUP on CENT-04\nDo a BEAD-CLEANUP on CENT-04"),
    *_asked({"instrument": "SEQ-01", "protocol": "SEQ-PE150"}, "Begin SEQ-PE150 on SEQ-01\nStart a SEQ-PE150 run on SEQ-01"),
    *_asked(
        {"instrument": "PCR-02", "protocol": "PCR-STD-35", "samples": ["S-0001"]},
        "Start PCR-STD-35 on PCR-02 with sample S-0001\nRun PCR-STD-35 on PCR-02 for S-0001\nstart PCR-STD-35 on PCR-02, sample S-0001",
    ),
    *_asked(
        {"instrument": "PCR-02", "protocol": "PCR-STD-35", "samples": ["S-0001", "S-0002"]},
        """
        Start PCR-STD-35 on PCR-02 with S-0001 and S-0002 | Run PCR-STD-35 on PCR-02 for samples S-0001, S-0002 |
        Start PCR-STD-35 on PCR-02 using samples S-0001 and S-0002
        """,
    ),
    *_asked(
        {"instrument": "HPLC-03", "protocol": "HPLC-GRAD-10", "samples": ["S-0010", "S-0011"]},
        "Inject S-0010 and S-0011 on HPLC-03 with HPLC-GRAD-10",
    ),
    *_asked(
        {"instrument": "PCR-02", "protocol": "PCR-STD-35", "parameters": {"cycles": 30}},
        """
        Start PCR-STD-35 on PCR-02 with cycles 30 | Run PCR-STD-35 on PCR-02, cycles = 30 |
        Start PCR-STD-35 on PCR-02 with 30 cycles
        """,
    ),
    # What leaves something to be asked for stands for the tool like the whole wish.
    *_asked(
        {"instrument": "PCR-02", "protocol": "PCR-STD-35"},
        """
        Start PCR-STD-35 | Run PCR-STD-35 | Please start the protocol PCR-STD-35 | Begin a PCR-STD-35 run |
        Start a run on PCR-02 | Start a new run on PCR-02 | Start PCR-02 | Begin something on PCR-02 |
        Launch a run on the thermocycler | Start a thermocycler run | Run something on the thermocycler | Start a run |
        Start a new run | Begin a run please
        """,
    ),
)

STOP: tuple[Example, ...] = (
    *_asked(
        {"run": "R-2026-0007", "reason": "wrong samples"}, "Stop R-2026-0007: wrong samples\nStop run R-2026-0007 because wrong samples"
    ),
    *_asked(
        {"run": "R-2026-0007", "reason": "wrong samples"},
        """
        Abort R-2026-0007, reason: wrong samples | Cancel run R-2026-0007: wrong samples | Stop R-2026-0007, wrong samples |
        Kill run R-2026-0007 due to wrong samples | Can you abort R-2026-0007? Reason: wrong samples |
        I need R-2026-0007 stopped because wrong samples | Stop the run R-2026-0007 on HPLC-03 because wrong samples
        """,
    ),
    *_asked(
        {"run": "R-2026-0011", "reason": "pressure too high"},
        """
        Please stop R-2026-0011 because pressure too high | Abort run R-2026-0011: pressure too high |
        Stop the run on HPLC-03 because pressure too high | Stop HPLC-03 because pressure too high |
        Stop HPLC-03, pressure too high | Abort HPLC-03: pressure too high |
        Please stop the HPLC-03 run, reason: pressure too high | Cancel the run on the HPLC because pressure too high |
        Halt the HPLC: pressure too high
        """,
    ),
    *_asked(
        {"run": "R-2026-0012", "reason": "leaking column"},
        "Halt R-2026-0012, reason: leaking column\nEnd the run R-2026-0012 because leaking column",
    ),
    *_asked({"run": "R-2026-0003", "reason": "power cut"}, "Terminate R-2026-0003: power cut\nStop R-2026-0003 due to power cut"),
    *_asked(
        {"run": "R-2026-0021", "reason": "operator request"},
        "Stop the run R-2026-0021: operator request\nInterrupt R-2026-0021: operator request",
    ),
    *_asked(
        {"run": "R-2026-0015", "reason": "wrong protocol"},
        "Stop R-2026-0015 now because wrong protocol\nKill run R-2026-0015: wrong protocol",
    ),
    *_asked(
        {"run": "R-2026-0007", "reason": "wrong samples"},
        """
        Stop R-2026-0007 | Stop run R-2026-0007 | Abort the run R-2026-0007 | Can you cancel R-2026-0007? |
        Stop the run on HPLC-03 | Stop HPLC-03 | Abort HPLC-03 | Abort the run on the HPLC | Stop the HPLC |
        Please stop the HPLC run | Stop what is running on HPLC-03 | Stop the run | Abort the current run |
        Stop the run because wrong samples
        """,
    ),
)
