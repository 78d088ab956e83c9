// Chat, blocking: one question and the whole answer.

const baseUrl = process.env.DIFY_BASE_URL ?? "http://127.0.0.1:5001/v1";
const apiKey = process.env.DIFY_API_KEY ?? "app-chat-demo";

const response = await fetch(`${baseUrl}/chat-messages`, {
  method: "POST",
  headers: { Authorization: `Bearer ${apiKey}`, "Content-Type": "application/json" },
  body: JSON.stringify({ inputs: {}, query: "Hello", response_mode: "blocking", user: "abc-123" }),
});
const answer = await response.json();
console.log(answer.result);
console.log(answer.conversation_id);
