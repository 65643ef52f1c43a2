// The official MCP SDK for JavaScript against a running server: node mcp_client.mjs URL TOKEN.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [url, token] = process.argv.slice(2);
const client = new Client({ name: "judge", version: "1" });
const headers = { Authorization: `Bearer ${token}` };
await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/mcp`), { requestInit: { headers } }));
const { tools } = await client.listTools();
const read = await client.callTool({ name: "get_instrument_status", arguments: { instrument: "PCR-02" } });
const asked = await client.callTool({ name: "start_run", arguments: { instrument: "PCR-02", protocol: "PCR-STD-35" } });
const waits = await client.callTool({ name: "get_approval", arguments: { approval_id: asked.structuredContent.approval.id } });
await client.close();
console.log(JSON.stringify({ tools: tools.map((tool) => tool.name), read, asked, waits }));
