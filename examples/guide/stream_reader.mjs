// Chat, streaming. This is the guide's reader, with its mistake: it takes every network chunk for whole lines of
// whole characters. See README.md for what that breaks.

const baseUrl = process.env.DIFY_BASE_URL ?? "http://127.0.0.1:5001/v1";
const apiKey = process.env.DIFY_API_KEY ?? "app-chat-demo";

const response = await fetch(`${baseUrl}/chat-messages`, {
  method: "POST",
  headers: { Authorization: `Bearer ${apiKey}`, "Content-Type": "application/json" },
  body: JSON.stringify({ inputs: {}, query: "Tell me a story", response_mode: "streaming", user: "abc-123" }),
});
const reader = response.body.getReader();
const decoder = new TextDecoder();

for (;;) {
  const { done, value } = await reader.read();
  if (done) break;
  for (const line of decoder.decode(value).split("\n")) {
    if (!line.startsWith("data: ")) continue;
    const event = JSON.parse(line.slice(6));
    if (event.event === "message") {
      process.stdout.write(event.answer);
    } else if (event.event === "message_end") {
      console.log("\n-- complete");
      console.log("--", JSON.stringify(event.metadata));
    }
  }
}
