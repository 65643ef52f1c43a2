"""Laboratory contracts as JSON for models and programs: bounded, with plain keys and units in names. Pure."""

from dataclasses import asdict
from typing import Any

from aliquot.kernel.clock import rfc3339
from aliquot.lab.contracts import ACTIVE, Instrument, InstrumentRun, Protocol
from aliquot.lab.planning import bench_seconds, default_seconds

_SAMPLES_MAX = 24
_LISTED_SAMPLES_MAX = 4
_LISTED_RESULTS_MAX = 5
_RESULTS_MAX = 6
_WHOLE_RESULTS_MAX = 50
_SAMPLE_RESULTS_MAX = 100


def instrument_shape(instrument: Instrument) -> dict[str, Any]:
    return {
        "code": instrument.code,
        "name": instrument.name,
        "kind": instrument.kind,
        "location": instrument.location,
        "state": instrument.state,
        "state_since": rfc3339(instrument.state_since),
        "error_code": instrument.error_code,
        "error": instrument.error,
        "last_service_on": instrument.last_service_on,
        "simulated": instrument.simulated,
        "version": instrument.version,
        "run": run_shape(instrument.run) if instrument.run else None,
    }


def run_shape(run: InstrumentRun) -> dict[str, Any]:
    """Samples and results are cut to what an answer needs; `sample_count` and GET /api/runs-of-instruments/{id} have the whole."""
    whole = [result for result in run.results if result.sample is None][:_RESULTS_MAX]
    active = run.state in ACTIVE
    lasted = (run.ends_at - run.started_at).total_seconds() if run.ends_at else None
    return {
        "code": run.code,
        "instrument": run.instrument,
        "protocol": run.protocol,
        "protocol_version": run.protocol_version,
        "operator": run.operator,
        "state": run.state,
        "active": active,
        "progress_percent": round(run.progress * 100, 1),
        "started_at": rfc3339(run.started_at),
        "ends_at": rfc3339(run.ends_at) if run.ends_at else None,
        "duration_seconds": lasted,
        "remaining_seconds": run.remaining_seconds if active else None,
        "sample_count": len(run.samples),
        "samples": list(run.samples[:_SAMPLES_MAX]),
        "parameters": [{"name": name, "value": value, "unit": run.units.get(name, "1")} for name, value in run.parameters.items()],
        "results": [{"name": result.name, "value": result.value, "unit": result.unit} for result in whole],
        "stop_reason": run.stop_reason,
        "error_code": run.error_code,
        "version": run.version,
    }


def history_shape(run: InstrumentRun) -> dict[str, Any]:
    """A run as one of many: fifty of them fit into an answer. A reason somebody wrote is left out: it is other people's text."""
    shape = run_shape(run)
    shape["samples"] = shape["samples"][:_LISTED_SAMPLES_MAX]
    shape["results"] = shape["results"][:_LISTED_RESULTS_MAX]
    for name in ("parameters", "stop_reason", "version"):
        del shape[name]
    return shape


def whole_run_shape(run: InstrumentRun, *, asked: str) -> dict[str, Any]:
    """One run with what it measured, sample by sample. A reason somebody wrote is left out, as in `history_shape`."""
    shape = run_shape(run)
    measured = [result for result in run.results if result.sample is not None]
    shape["results"] = [{"name": r.name, "value": r.value, "unit": r.unit} for r in run.results if r.sample is None][:_WHOLE_RESULTS_MAX]
    shape["sample_results"] = [asdict(result) for result in measured[:_SAMPLE_RESULTS_MAX]]
    shape["sample_result_count"] = len(measured)
    shape["asked"] = asked
    del shape["stop_reason"]
    return shape


def protocol_shape(protocol: Protocol, *, steps: bool, samples: int = 1) -> dict[str, Any]:
    """With `steps` the whole protocol, else what a list shows. Its times are those of `samples`, all with the defaults."""
    text = protocol.text
    shape: dict[str, Any] = {
        "code": protocol.code,
        "version": protocol.version,
        "name": text.name,
        "summary": text.summary,
        "kinds": list(text.kinds),
        "total_seconds": default_seconds(text, samples),
        "bench_seconds": bench_seconds(text, samples),
        "for_samples": samples,
        "warm_up_seconds": text.warm_up_seconds,
        "max_samples": text.max_samples,
        "parameters": [asdict(parameter) for parameter in text.parameters],
    }
    if steps:
        shape["steps"] = [{**asdict(step), "readings": [asdict(reading) for reading in step.readings]} for step in text.steps]
    return shape
