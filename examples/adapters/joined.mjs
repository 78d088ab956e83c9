// For clients that hand the events on as they come: what their user makes of them.
import { Reported } from './lines.mjs';

export async function joined(events, emit = () => {}) {
  const said = { text: '' };
  let agent = false, ended = false;
  for await (const event of events) {
    const { event: name, data = {} } = event;
    for (const key of ['conversation_id', 'message_id']) said[key] = event[key] || said[key];
    if (name === 'error') throw new Reported('stream', event.message, event.status, event.code);
    if (name === 'message_replace') said.text = event.answer;
    const delta = name === 'text_chunk' ? data.text : event.answer;
    if (delta && (['agent_message', 'text_chunk'].includes(name) || (name === 'message' && !agent))) {
      said.text += delta;
      emit(delta);
    }
    agent ||= name === 'agent_message';
    ended ||= name === 'message_end' || name === 'workflow_finished';
    if (name === 'workflow_finished') {
      said.outputs = data.outputs;
      if (data.status === 'failed') throw new Reported('stream', data.error);
    }
  }
  if (!ended) throw new Reported('stream', 'the stream ended without its end event');
  return said;
}

export function whole(body) {
  if (typeof body !== 'object') throw new Reported('protocol', `not a JSON object: ${String(body).slice(0, 60)}`);
  if (!('answer' in body)) return { outputs: body.data.outputs };
  return { text: body.answer, conversation_id: body.conversation_id, message_id: body.message_id };
}
