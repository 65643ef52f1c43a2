"""Debian's Chromium without a window, spoken to by its DevTools protocol: enough to open a file and use a page."""

import asyncio
import base64
import json
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect


class Page:
    """One tab."""

    def __init__(self, connection: ClientConnection, session: str) -> None:
        self._connection, self._session, self._number = connection, session, 0
        self.complaints: list[str] = []
        """What the page wrote to its console as errors, and exceptions nobody caught."""

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        await self._connection.send(json.dumps({"id": self._number, "method": method, "params": params, "sessionId": self._session}))
        while True:
            message = json.loads(await asyncio.wait_for(self._connection.recv(), 60))
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        if message.get("method") == "Runtime.exceptionThrown" or (
            message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error"
        ):
            self.complaints.append(json.dumps(message["params"])[:500])

    async def open(self, address: str) -> None:
        for domain in ("Page", "Runtime", "Log", "DOM"):
            await self.ask(f"{domain}.enable")
        await self.ask("Page.navigate", url=address)
        await self.until("document.readyState", "complete")

    async def value(self, expression: str) -> Any:
        answer = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:500])
        return answer["result"].get("value")

    async def until(self, expression: str, *wanted: Any) -> Any:
        """The value of `expression` once it is one of `wanted`."""
        async with asyncio.timeout(60):
            while (found := await self.value(expression)) not in wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.02)  # polling the page
        return found

    async def choose(self, selector: str, *files: Path) -> None:
        """Choose files in an input, as a person does in the dialogue."""
        document = await self.ask("DOM.getDocument")
        node = await self.ask("DOM.querySelector", nodeId=document["root"]["nodeId"], selector=selector)
        await self.ask("DOM.setFileInputFiles", files=[str(file) for file in files], nodeId=node["nodeId"])

    async def picture(self, path: Path) -> None:
        answer = await self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(answer["data"]))


@asynccontextmanager
async def opened(binary: str, address: str) -> AsyncIterator[Page]:
    """A browser with one tab at `address`."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as home:
        process = subprocess.Popen(  # noqa: ASYNC220 - a test's own
            [
                binary, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                "--remote-debugging-port=0", f"--user-data-dir={home}", "--window-size=1100,1000", "about:blank",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            port, path = await asyncio.to_thread(_door, Path(home), process)
            async with connect(f"ws://127.0.0.1:{port}{path}", max_size=None) as connection:
                yield await _tab(connection, address)
        finally:
            process.terminate()
            process.wait(20)


def _door(home: Path, process: "subprocess.Popen[bytes]") -> tuple[str, str]:
    """Where the browser listens: it writes that down once it does."""
    written = home / "DevToolsActivePort"
    for _ in range(600):
        if written.exists() and len(lines := written.read_text().splitlines()) == 2:
            return lines[0], lines[1]
        if process.poll() is not None:
            raise RuntimeError(f"chromium ended with {process.returncode}")
        time.sleep(0.1)
    raise TimeoutError("chromium does not listen")


async def _tab(connection: ClientConnection, address: str) -> Page:
    browser = Page(connection, "")

    async def ask(method: str, **params: Any) -> dict[str, Any]:
        browser._number += 1
        await connection.send(json.dumps({"id": browser._number, "method": method, "params": params}))
        while (message := json.loads(await connection.recv())).get("id") != browser._number:
            pass
        result: dict[str, Any] = message["result"]
        return result

    target = await ask("Target.createTarget", url="about:blank")
    attached = await ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
    page = Page(connection, attached["sessionId"])
    page._number = browser._number
    await page.open(address)
    return page
