// The official AG-UI client against a running server: node agui_client.mjs URL TOKEN THREAD QUESTION. Prints what it made of the answer.
import { HttpAgent } from "@ag-ui/client";

const [url, token, threadId, question] = process.argv.slice(2);
const agent = new HttpAgent({ url: `${url}/ag-ui`, threadId, headers: { Authorization: `Bearer ${token}` } });
agent.messages = [{ id: "q1", role: "user", content: question }];
const kinds = [];
const result = await agent.runAgent({ runId: "run-1" }, { onEvent: ({ event }) => void kinds.push(event.type) });
console.log(JSON.stringify({ kinds, messages: agent.messages, newMessages: result.newMessages }));
