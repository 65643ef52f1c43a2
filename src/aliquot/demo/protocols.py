"""The protocols of the demo laboratory: ordinary textbook procedures, written for this demo."""

from aliquot.lab.contracts import Parameter, ProtocolText, Reading, Step


def _set(name: str, value: float, unit: str, by: str | None = None) -> Reading:
    return Reading(name=name, value=value, unit=unit, set_by=by)


_PCR = ProtocolText(
    name="Standard PCR, 35 cycles",
    summary="End-point amplification of a 200 to 800 bp fragment with a hot-start polymerase in 25 µL reactions.",
    kinds=("thermocycler",),
    warm_up_seconds=120,
    max_samples=96,
    parameters=(
        Parameter(name="cycles", unit="1", default=35, minimum=20, maximum=45, integer=True),
        Parameter(name="annealing_temperature", unit="°C", default=60, minimum=45, maximum=72),
        Parameter(name="extension_temperature", unit="°C", default=72, minimum=65, maximum=74),
    ),
    steps=(
        Step(name="Initial denaturation", seconds=180, where="thermocycler", readings=(_set("block", 95, "°C"), _set("lid", 105, "°C"))),
        Step(name="Denaturation", seconds=30, where="thermocycler", readings=(_set("block", 95, "°C"),), repeat=35, repeat_by="cycles"),
        Step(
            name="Annealing",
            seconds=30,
            where="thermocycler",
            readings=(_set("block", 60, "°C", "annealing_temperature"),),
            repeat=35,
            repeat_by="cycles",
        ),
        Step(
            name="Extension",
            seconds=60,
            where="thermocycler",
            readings=(_set("block", 72, "°C", "extension_temperature"),),
            repeat=35,
            repeat_by="cycles",
        ),
        Step(name="Final extension", seconds=300, where="thermocycler", readings=(_set("block", 72, "°C", "extension_temperature"),)),
        Step(name="Cool down", seconds=60, where="thermocycler", readings=(_set("block", 4, "°C"),)),
    ),
)

_LIBRARY = ProtocolText(
    name="DNA library preparation",
    summary="Library preparation from 100 ng of fragmented DNA: end repair, A-tailing, adapter ligation and index PCR.",
    kinds=("thermocycler",),
    warm_up_seconds=120,
    max_samples=24,
    parameters=(Parameter(name="index_cycles", unit="1", default=8, minimum=4, maximum=14, integer=True),),
    steps=(
        Step(name="Set up end repair on ice", seconds=1200, where="bench", readings=(_set("reaction volume", 60, "µL"),)),
        Step(name="End repair and A-tailing", seconds=1800, where="thermocycler", readings=(_set("block", 20, "°C"),)),
        Step(name="Enzyme inactivation", seconds=1800, where="thermocycler", readings=(_set("block", 65, "°C"), _set("lid", 75, "°C"))),
        Step(name="Add adapters and ligase", seconds=600, where="bench", readings=(_set("adapter", 2.5, "µL"),)),
        Step(name="Adapter ligation", seconds=900, where="thermocycler", readings=(_set("block", 20, "°C"),)),
        Step(name="Bead clean-up (see BEAD-CLEANUP)", seconds=1500, where="bench", readings=(_set("bead ratio", 0.9, "×"),)),
        Step(
            name="Index PCR, denaturation", seconds=15, where="thermocycler", readings=(_set("block", 98, "°C"),), repeat=8,
            repeat_by="index_cycles",
        ),
        Step(
            name="Index PCR, annealing and extension", seconds=75, where="thermocycler", readings=(_set("block", 65, "°C"),), repeat=8,
            repeat_by="index_cycles",
        ),
        Step(name="Final extension", seconds=300, where="thermocycler", readings=(_set("block", 65, "°C"),)),
    ),
)  # fmt: skip

_BEADS = ProtocolText(
    name="Magnetic bead clean-up",
    summary="Removes primers, dimers and salts from amplified DNA with paramagnetic beads and two washes in 80 % ethanol.",
    kinds=("centrifuge",),
    warm_up_seconds=30,
    max_samples=96,
    parameters=(Parameter(name="bead_ratio", unit="×", default=0.9, minimum=0.5, maximum=2.0),),
    steps=(
        Step(name="Mix with beads at room temperature", seconds=300, where="bench", readings=(_set("bead ratio", 0.9, "×", "bead_ratio"),)),
        Step(name="Collect droplets", seconds=60, where="centrifuge", readings=(_set("force", 280, "× g"), _set("rotor", 20, "°C"))),
        Step(name="Separate on the magnet", seconds=300, where="bench"),
        Step(name="Wash with 80 % ethanol", seconds=30, where="bench", readings=(_set("volume", 200, "µL"),), repeat=2),
        Step(name="Dry the beads", seconds=180, where="bench"),
        Step(name="Elute", seconds=120, where="bench", readings=(_set("volume", 22, "µL"),)),
        Step(name="Collect the eluate", seconds=120, where="centrifuge", readings=(_set("force", 280, "× g"), _set("rotor", 4, "°C"))),
    ),
)

_FLOW = (_set("flow", 1.0, "mL/min", "flow_rate"),)

_GRADIENT = ProtocolText(
    name="Reversed-phase gradient, 10 min",
    summary="Purity of small molecules on a C18 column (150 × 4.6 mm, 5 µm), water and acetonitrile with 0.1 % formic acid, 254 nm.",
    kinds=("hplc",),
    warm_up_seconds=1200,
    max_samples=120,
    parameters=(
        Parameter(name="flow_rate", unit="mL/min", default=1.0, minimum=0.2, maximum=1.5),
        Parameter(name="column_temperature", unit="°C", default=35, minimum=20, maximum=60),
        Parameter(name="injection_volume", unit="µL", default=10, minimum=1, maximum=50),
    ),
    steps=(
        Step(name="Blank injection", seconds=960, where="hplc", readings=(_set("injection", 10, "µL", "injection_volume"),)),
        Step(
            name="Inject", seconds=60, where="hplc", per_sample=True,
            readings=(_set("injection", 10, "µL", "injection_volume"), _set("column", 35, "°C", "column_temperature")),
        ),
        Step(
            name="Gradient 5 to 95 % acetonitrile", seconds=600, where="hplc", per_sample=True,
            readings=(*_FLOW, _set("detection", 254, "nm")),
        ),
        Step(name="Wash at 95 % acetonitrile", seconds=120, where="hplc", per_sample=True, readings=_FLOW),
        Step(name="Equilibrate at 5 % acetonitrile", seconds=180, where="hplc", per_sample=True, readings=_FLOW),
    ),
)  # fmt: skip

_SEQUENCING = ProtocolText(
    name="Paired-end sequencing, 2 × 150 bp",
    summary="Clustering and sequencing by synthesis of pooled, indexed libraries on a mid-output flow cell, 1 % PhiX spiked in.",
    kinds=("sequencer",),
    warm_up_seconds=600,
    max_samples=96,
    parameters=(Parameter(name="loading_concentration", unit="pM", default=1.5, minimum=0.8, maximum=2.2),),
    steps=(
        Step(name="Denature and dilute the pool", seconds=1200, where="bench"),
        Step(
            name="Cluster generation", seconds=9000, where="sequencer",
            readings=(_set("loading", 1.5, "pM", "loading_concentration"), _set("flow cell", 60, "°C")),
        ),
        Step(name="Read 1, per cycle", seconds=255, where="sequencer", repeat=151),
        Step(name="Index reads, per cycle", seconds=255, where="sequencer", repeat=16),
        Step(name="Read 2, per cycle", seconds=255, where="sequencer", repeat=151),
        Step(name="Post-run wash", seconds=3600, where="sequencer"),
    ),
)  # fmt: skip

PROTOCOLS: dict[str, ProtocolText] = {
    "PCR-STD-35": _PCR,
    "LIB-PREP-DNA": _LIBRARY,
    "BEAD-CLEANUP": _BEADS,
    "HPLC-GRAD-10": _GRADIENT,
    "SEQ-PE150": _SEQUENCING,
}
