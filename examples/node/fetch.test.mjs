// A suite of node:test against mockdify:  mockdify exec -- node --test examples/node/fetch.test.mjs
import assert from "node:assert/strict";
import { test } from "node:test";
import { Chat, DifyError } from "./fetch.mjs";

// The mock's faults are in the key, so each test breaks what it wants and no other test notices.
const broken = (fault, user) => new Chat({ user, key: `${process.env.DIFY_API_KEY}!${fault}` });

test("a conversation goes on", async () => {
  const chat = new Chat({ user: "goes-on" });
  assert.equal(await chat.ask("hello"), "The mock heard: hello");
  const conversation = chat.conversationId;
  await chat.ask("and then?");
  assert.equal(chat.conversationId, conversation);
});

test("a stream gives the same answer in pieces", async () => {
  const pieces = [];
  for await (const piece of new Chat({ user: "in-pieces" }).stream("你好 👋")) pieces.push(piece);
  assert.ok(pieces.length > 1);
  assert.equal(pieces.join(""), "The mock heard: 你好 👋");
});

test("another user's conversation is not found", async () => {
  const chat = new Chat({ user: "mine" });
  await chat.ask("hello");
  chat.user = "not-mine";
  await assert.rejects(chat.ask("what was that?"), { status: 404, code: "not_found" });
});

test("a 429 is an error with a code", async () => {
  await assert.rejects(broken("rate-limit", "limited").ask("hello"), { status: 429, code: "too_many_requests" });
});

test("an error in the middle of a stream is thrown", async () => {
  const pieces = [];
  const read = async () => {
    for await (const piece of broken("error-event;after=2", "broken").stream("hello")) pieces.push(piece);
  };
  await assert.rejects(read, DifyError);
  assert.equal(pieces.length, 2);
});

test("a gateway's page of HTML is an error too", async () => {
  await assert.rejects(broken("bad-gateway", "gateway").ask("hello"), { status: 502, code: "unknown" });
});
