"""Serves one GGUF file as an OpenAI-compatible endpoint on loopback: `python -m aliquot.models.local_server --model FILE`.

A process of its own, because the engine (xllamacpp, an optional extra) holds the processor for seconds at a time and a
crash in native code must not take Aliquot along. Prints one line of JSON with the address once it listens. The key clients
must send is taken from the environment variable ALIQUOT_LOCAL_KEY, if set.
"""

import argparse
import json
import os
import signal
import sys
import threading
from typing import Any

MISSING = 3
"""Exit status when xllamacpp is not installed."""


def main(arguments: list[str] | None = None) -> int:
    """Run until terminated. Exit status 0 after SIGTERM or SIGINT, MISSING without the engine, 1 when the file is unusable."""
    options = _options(arguments)
    try:
        import xllamacpp  # noqa: PLC0415 - optional extra, large, only in this process
    except ImportError:
        sys.stderr.write("xllamacpp is not installed. Install it beside Aliquot: pip install xllamacpp==2026.10.11549\n")
        return MISSING
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        server = xllamacpp.Server(_parameters(xllamacpp.CommonParams(), options))
    except (RuntimeError, ValueError) as error:
        sys.stderr.write(f"the model cannot be served: {type(error).__name__}\n")
        return 1
    sys.stdout.write(json.dumps({"listening": server.listening_address}) + "\n")
    sys.stdout.flush()
    _wait(stop, options.parent)
    # The engine's own shutdown waits for answers under way; the operating system frees everything at once.
    os._exit(0)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="path of the GGUF file")
    parser.add_argument("--alias", default="local", help="the model's name in requests")
    parser.add_argument("--port", type=int, default=9001)
    parser.add_argument("--context", type=int, default=8_192, help="tokens of context")
    parser.add_argument("--threads", type=int, default=0, help="0 = as many as the engine thinks best")
    parser.add_argument("--parent", type=int, default=0, help="end when this process has ended")
    return parser.parse_args(arguments)


def _parameters(params: Any, options: argparse.Namespace) -> Any:
    params.model.path = options.model
    params.model_alias = {options.alias}
    params.hostnames = ["127.0.0.1"]
    params.port = options.port
    params.n_ctx = options.context
    params.n_parallel = 1
    params.n_gpu_layers = 0
    params.ui = False
    params.offline = True
    params.warmup = False
    params.verbosity = 0  # its log would show prompts
    params.cors_origins = ""  # no web page may talk to it
    if options.threads:
        params.cpuparams.n_threads = options.threads
    if key := os.environ.get("ALIQUOT_LOCAL_KEY"):
        params.api_keys = [key]
    return params


def _wait(stop: threading.Event, parent: int) -> None:
    """Until told to stop, or until the process that started this one is gone."""
    while not stop.wait(2):
        if parent and os.getppid() != parent:
            return


if __name__ == "__main__":
    sys.exit(main())
