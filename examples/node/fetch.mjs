// A small Dify client with fetch: ask, go on, stream. No dependencies; Node 18 or later.
import { pathToFileURL } from "node:url";

export class DifyError extends Error {
  constructor(status, code, message) {
    super(`${status} ${code}: ${message}`);
    Object.assign(this, { status, code });
  }
}

export class Chat {
  constructor({ baseUrl = process.env.DIFY_BASE_URL, key = process.env.DIFY_API_KEY, user }) {
    Object.assign(this, { baseUrl, key, user, conversationId: "" });
  }

  /** The whole answer at once. */
  async ask(query, inputs = {}) {
    const answer = await (await this.#send(query, inputs, "blocking")).json();
    this.conversationId = answer.conversation_id;
    return answer.answer;
  }

  /** The answer piece by piece, as it is made. */
  async *stream(query, inputs = {}) {
    const reply = await this.#send(query, inputs, "streaming");
    for await (const line of lines(reply.body)) {
      if (!line.startsWith("data:")) continue; // a ping, or the blank line behind an event
      const event = JSON.parse(line.slice(5));
      this.conversationId = event.conversation_id ?? this.conversationId;
      if (event.event === "error") throw new DifyError(event.status, event.code, event.message);
      if (event.event === "message" || event.event === "agent_message") yield event.answer;
    }
  }

  async #send(query, inputs, mode) {
    const body = { inputs, query, user: this.user, conversation_id: this.conversationId, response_mode: mode };
    const reply = await fetch(`${this.baseUrl}/chat-messages`, {
      method: "POST",
      headers: { Authorization: `Bearer ${this.key}`, "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    if (reply.ok) return reply;
    const said = await reply.json().catch(() => ({})); // a proxy in front of Dify speaks HTML
    throw new DifyError(reply.status, said.code ?? "unknown", said.message ?? reply.statusText);
  }
}

/** Lines of text: a chunk may end anywhere, also inside a character. */
async function* lines(body) {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    const found = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = found.pop();
    yield* found;
  }
  yield rest;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const chat = new Chat({ user: "alice" });
  console.log(await chat.ask("Hello!"));
  for await (const piece of chat.stream("And again?")) process.stdout.write(piece);
  console.log();
}
