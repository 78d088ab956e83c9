// dify-client 2.3.2, the official Node SDK (axios). A stream is its raw response, split here at blank lines.
//   npm install --prefix DIR dify-client@2.3.2
//   DIFY_NODE_DIR=DIR mockdify check --exec "node examples/adapters/dify_client_node.mjs"
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Reported, run } from './lines.mjs';
import { joined, whole } from './joined.mjs';

const found = createRequire(`${process.env.DIFY_NODE_DIR ?? '.'}/x.js`).resolve('dify-client');
const { ChatClient, CompletionClient } = await import(pathToFileURL(found).href);

async function* events(body) {
  const text = new TextDecoder();
  let rest = '', data = [];
  for await (const piece of body) {
    const lines = (rest + text.decode(piece, { stream: true })).split(/\r\n|\n|\r/);
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith('data:')) data.push(line.slice(5));
      else if (!line && data.length) yield JSON.parse(data.splice(0).join('\n'));
    }
  }
}
async function bodyOf(response) {
  let data = response.data;
  if (data?.pipe) data = JSON.parse(Buffer.concat(await data.toArray()).toString().replace(/^[^{]*$/, '{}'));
  return data ?? {};
}
const caller = (kind, ask) => async (call, emit) => {
  try {
    const response = await ask(new kind(call.api_key, call.base_url), call);
    return call.stream ? await joined(events(response.data), emit) : whole(response.data);
  } catch (error) {
    if (!(error.response?.status >= 400)) throw error;
    throw new Reported('http', error.message, error.response.status, (await bodyOf(error.response)).code);
  }
};
run(['chat', 'completion', 'workflow'].flatMap(name => [`${name}.blocking`, `${name}.streaming`]).concat('incremental', 'parallel'), {
  chat: caller(ChatClient, (c, a) => c.createChatMessage(a.inputs, a.query, a.user, a.stream, a.conversation_id)),
  completion: caller(CompletionClient, (c, a) => c.createCompletionMessage(a.inputs, a.user, a.stream)),
  workflow: caller(CompletionClient, (c, a) => c.runWorkflow(a.inputs, a.user, a.stream)),
});
