// The AI SDK's own transport and reader against a running server: node ai_sdk_client.mjs URL TOKEN CONVERSATION QUESTION.
import { DefaultChatTransport, readUIMessageStream } from "ai";

const [url, token, conversationId, question] = process.argv.slice(2);
const transport = new DefaultChatTransport({
  api: `${url}/api/chat/stream?format=vercel`,
  headers: { Authorization: `Bearer ${token}` },
  prepareSendMessagesRequest: ({ messages }) => ({
    body: { message: messages.at(-1).parts.map((part) => part.text).join(""), conversationId },
  }),
});
const messages = [{ id: "q1", role: "user", parts: [{ type: "text", text: question }] }];
const stream = await transport.sendMessages({ chatId: conversationId, messages, trigger: "submit-message", abortSignal: undefined });
const failures = [];
let last;
for await (const message of readUIMessageStream({ stream, onError: (error) => failures.push(String(error)), terminateOnError: true })) last = message;
console.log(JSON.stringify({ last, failures }));
