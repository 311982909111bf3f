// Azurite on a free loopback port, for as long as standard input stays open.
//
//   node serve.mjs <azurite's directory> <directory for its data> <container>…
//
// Once it answers and has the containers, one line of JSON says where it is and how to get in; the same run can be restarted on
// its port by giving it as PORT. Whoever started this needs to end nothing: a closed standard input ends both processes.
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { createServer } from 'node:net';
import { join } from 'node:path';

const ACCOUNT = 'devstoreaccount1';
// Azurite's own, the same in every copy of it.
const KEY = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';

const [azurite, data, ...containers] = process.argv.slice(2);
const sign = (text) => createHmac('sha256', Buffer.from(KEY, 'base64')).update(text, 'utf8').digest('base64');

const freePort = () =>
  new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

// A shared access signature for the whole account: list, read, write, delete.
const sas = (start, end) => {
  const [permissions, services, types, version] = ['rwdlac', 'b', 'sco', '2018-11-09'];
  const signature = sign([ACCOUNT, permissions, services, types, start, end, '', '', version, ''].join('\n'));
  return new URLSearchParams({ sv: version, ss: services, srt: types, sp: permissions, st: start, se: end, sig: signature }).toString();
};

const createContainer = async (endpoint, name) => {
  const date = new Date().toUTCString();
  const version = '2021-08-06';
  const text = ['PUT', '', '', '', '', '', '', '', '', '', '', '', `x-ms-date:${date}`, `x-ms-version:${version}`,
    `/${ACCOUNT}/${ACCOUNT}/${name}`, 'restype:container'].join('\n');
  const answer = await fetch(`${endpoint}/${name}?restype=container`, {
    method: 'PUT',
    headers: { 'x-ms-date': date, 'x-ms-version': version, Authorization: `SharedKey ${ACCOUNT}:${sign(text)}` },
  });
  if (answer.status !== 201 && answer.status !== 409) throw new Error(`container ${name}: ${answer.status} ${await answer.text()}`);
};

const port = Number(process.env.PORT) || (await freePort());
const endpoint = `http://127.0.0.1:${port}/${ACCOUNT}`;
const main = join(azurite, 'node_modules', 'azurite', 'dist', 'src', 'blob', 'main.js');
const server = spawn(
  process.execPath,
  [main, '--blobHost', '127.0.0.1', '--blobPort', String(port), '--location', data, '--silent', '--skipApiVersionCheck', '--disableTelemetry'],
  { stdio: ['ignore', 'ignore', 'inherit'] },
);
const end = () => server.kill('SIGTERM');
server.on('exit', (code) => process.exit(code ?? 0));
process.stdin.on('end', end).on('error', end).resume();
process.on('SIGTERM', end).on('SIGINT', end);

const ready = async () => {
  for (const deadline = Date.now() + 60_000; ; ) {
    try {
      await fetch(endpoint);
      for (const name of containers) await createContainer(endpoint, name);
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
};
try {
  await ready();
} catch (error) {
  console.error(error);
  end();
  process.exit(1);
}
const [year, now] = [365 * 24 * 3600 * 1000, Date.now()];
const day = (time) => new Date(time).toISOString().replace(/\.\d+Z$/, 'Z');
console.log(JSON.stringify({
  port,
  endpoint,
  account: ACCOUNT,
  key: KEY,
  sas: sas(day(now - year), day(now + year)),
  expired: sas(day(now - 2 * year), day(now - year)),
}));
