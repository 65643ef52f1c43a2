"""The dashboards of a laboratory that declares none of its own."""

from aliquot.platform.settings import DashboardManifest

LAB_DASHBOARDS = (
    DashboardManifest(
        id="instrument-status",
        name="Instrument status",
        description="What the instruments are doing and did; nothing can be started or stopped from here.",
        available_tools=("get_instrument_status", "get_run_history", "get_run"),
    ),
    DashboardManifest(
        id="run-control",
        name="Run control",
        description="Protocols, runs and instruments, with starting and stopping.",
        available_tools=("get_instrument_status", "get_run_history", "get_run", "get_protocols", "start_run", "stop_run"),
    ),
)
