// The loop of an adapter in JavaScript: JSON lines in, JSON lines out. Copy it beside yours; it needs nothing.
import readline from 'node:readline';

export class Reported extends Error {
  constructor(kind, message, status, code) {
    super(message);
    this.said = { kind, status, code, message };
  }
}

const say = (id, said) => process.stdout.write(JSON.stringify({ id, ...said }) + '\n');

function report(error) {
  if (error instanceof Reported) return error.said;
  const network = error.code?.startsWith?.('E') || error.message === 'fetch failed' || error.message === 'terminated' || error.message === 'aborted';
  const timeout = error.name === 'TimeoutError' || error.code === 'ECONNABORTED' || error.code === 'ETIMEDOUT';
  return { kind: timeout ? 'timeout' : network ? 'network' : 'protocol', message: network ? `${error.code}: ${error.message}` : `${error.name}: ${error.message}` };
}

export function run(capabilities, calls) {
  readline.createInterface({ input: process.stdin }).on('line', async line => {
    const { id, call, ...args } = JSON.parse(line);
    if (call === 'hello') return say(id, { capabilities });
    if (call === 'abandon') return;
    try {
      say(id, { ok: true, ...await calls[call](args, delta => say(id, { delta })) });
    } catch (error) {
      say(id, { ok: false, error: report(error) });
    }
  });
}
