// The guide's JavaScript reader (examples/guide/stream_reader.mjs), one process for each call: it is a script.
//   mockdify check --exec "node examples/adapters/guide_javascript.mjs"
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Reported, run } from './lines.mjs';

const script = fileURLToPath(new URL('../guide/stream_reader.mjs', import.meta.url));

run(['chat.streaming', 'incremental', 'parallel'], {
  chat: (call, emit) => new Promise((resolve, reject) => {
    const env = { ...process.env, DIFY_BASE_URL: call.base_url, DIFY_API_KEY: call.api_key };
    const child = spawn(process.execPath, [script], { env });
    let text = '', errors = '', ended = false;
    child.stdout.setEncoding('utf8').on('data', piece => {
      if (ended) return;
      const at = piece.indexOf('\n-- complete');
      ended = at >= 0;
      const said = ended ? piece.slice(0, at) : piece;
      text += said;
      emit(said);
    });
    child.stderr.on('data', piece => { errors += piece; });
    child.on('close', code => {
      const words = errors.match(/^\w*Error.*$/m)?.[0] ?? errors.slice(0, 200);
      if (code) reject(new Reported(/: (fetch failed|terminated)/.test(words) ? 'network' : 'protocol', words));
      else resolve({ text });
    });
  }),
});
