"""The worker process: everything of a server except HTTP."""

import asyncio
import signal

import structlog

from aliquot.bootstrap import Background, Services

log = structlog.get_logger(__name__)


async def work(services: Services) -> None:
    """Work until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    background = Background(services, alone=False)
    await background.start()
    log.info("worker_ready")
    await stop.wait()
    await background.stop()
