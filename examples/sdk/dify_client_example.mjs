// The official Node SDK (dify-client 2.3.2) against mockdify.
import { ChatClient, CompletionClient } from "dify-client";

const { DIFY_BASE_URL, DIFY_CHAT_KEY, DIFY_WORKFLOW_KEY } = process.env;

const chat = new ChatClient(DIFY_CHAT_KEY, DIFY_BASE_URL);
const first = (await chat.createChatMessage({}, "Hello!", "alice")).data;
console.log("blocking:", first.answer);

const reply = await chat.createChatMessage({}, "And again?", "alice", true, first.conversation_id);
let text = "";
for await (const chunk of reply.data) text += chunk;
const events = text.split("\n").filter((line) => line.startsWith("data:")).map((line) => JSON.parse(line.slice(5)));
console.log("streaming:", events.filter((event) => event.event === "message").map((event) => event.answer).join(""));

const workflow = new CompletionClient(DIFY_WORKFLOW_KEY, DIFY_BASE_URL);
console.log("workflow:", (await workflow.runWorkflow({ query: "Hello!" }, "alice")).data.data.outputs.text);
