// Azurite on a free loopback port, for as long as standard input stays open.
//
//   node serve.mjs <azurite's directory> <directory for its data> <container>…
//
// Once it answers and has the containers, one line of JSON says where it is and how to get in; the same run can be restarted on
// its port by giving it as PORT. A container whose name begins with 'public' may be listed and read by everybody. With CERT and KEY
// (files) it speaks HTTPS and takes OAuth tokens, and a token endpoint stands beside it that knows one application. Whoever started this needs to end nothing: a closed standard input ends both processes.
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer as createTokenServer } from 'node:https';
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

// A shared access signature for the whole account: list, read, write, delete, unless it says less.
const sas = (start, end, permissions = 'rwdlac') => {
  const [services, types, version] = ['b', 'sco', '2018-11-09'];
  const signature = sign([ACCOUNT, permissions, services, types, start, end, '', '', version, ''].join('\n'));
  return new URLSearchParams({ sv: version, ss: services, srt: types, sp: permissions, st: start, se: end, sig: signature }).toString();
};

// The same for one container alone.
const containerSas = (container, start, end) => {
  const [permissions, version, resource] = ['racwdl', '2018-11-09', 'c'];
  const place = `/blob/${ACCOUNT}/${container}`;
  const signature = sign([permissions, start, end, place, '', '', '', version, resource, '', '', '', '', '', ''].join('\n'));
  return new URLSearchParams({ sv: version, sr: resource, sp: permissions, st: start, se: end, sig: signature }).toString();
};

// What an identity provider would sign; Azurite looks at what it says alone.
const token = () => {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const now = Math.floor(Date.now() / 1000);
  const claims = { aud: 'https://storage.azure.com', iss: 'https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/', iat: now, nbf: now - 60, exp: now + 3600 };
  return `${part({ alg: 'RS256', typ: 'JWT' })}.${part(claims)}.${part('signed')}`;
};

// The token endpoint: an application with its secret or its federated token, and the identity of the machine.
const APPLICATION = { tenant: 'tenant', client: 'application', secret: 'open-sesame', assertion: 'federated-by-workload' };
const serveTokens = (secured) =>
  new Promise((resolve) => {
    const server = createTokenServer(secured, (request, answer) => {
      let body = '';
      request.on('data', (data) => (body += data)).on('end', () => {
        const form = new URLSearchParams(body);
        const url = new URL(request.url, 'https://127.0.0.1');
        const machine = url.pathname === '/identity' && request.headers.metadata === 'true';
        const application = url.pathname === `/${APPLICATION.tenant}/oauth2/v2.0/token` && form.get('client_id') === APPLICATION.client &&
          (form.get('client_secret') === APPLICATION.secret || form.get('client_assertion') === APPLICATION.assertion);
        const known = machine || application;
        answer.writeHead(known ? 200 : 401, { 'content-type': 'application/json' });
        answer.end(JSON.stringify(known
          ? { access_token: token(), token_type: 'Bearer', expires_in: 3600, expires_on: String(Math.floor(Date.now() / 1000) + 3600) }
          : { error: 'invalid_client', error_description: 'Invalid client secret provided.' }));
      });
    });
    server.listen(0, '127.0.0.1', () => resolve(`https://127.0.0.1:${server.address().port}`));
  });

const createContainer = async (endpoint, name) => {
  const date = new Date().toUTCString();
  const version = '2021-08-06';
  const open = name.startsWith('public') ? { 'x-ms-blob-public-access': 'container' } : {};
  const own = Object.entries({ ...open, 'x-ms-date': date, 'x-ms-version': version }).map(([header, value]) => `${header}:${value}`);
  const text = ['PUT', '', '', '', '', '', '', '', '', '', '', '', ...own, `/${ACCOUNT}/${ACCOUNT}/${name}`, 'restype:container'].join('\n');
  const answer = await fetch(`${endpoint}/${name}?restype=container`, {
    method: 'PUT',
    headers: { ...open, 'x-ms-date': date, 'x-ms-version': version, Authorization: `SharedKey ${ACCOUNT}:${sign(text)}` },
  });
  if (answer.status !== 201 && answer.status !== 409) throw new Error(`container ${name}: ${answer.status} ${await answer.text()}`);
};

const port = Number(process.env.PORT) || (await freePort());
const { CERT, KEY: CERT_KEY } = process.env;
const secured = CERT && { cert: readFileSync(CERT), key: readFileSync(CERT_KEY) };
const endpoint = `${secured ? 'https' : 'http'}://127.0.0.1:${port}/${ACCOUNT}`;
const main = join(azurite, 'node_modules', 'azurite', 'dist', 'src', 'blob', 'main.js');
const server = spawn(
  process.execPath,
  [main, '--blobHost', '127.0.0.1', '--blobPort', String(port), '--location', data, '--silent', '--skipApiVersionCheck', '--disableTelemetry',
    ...(secured ? ['--oauth', 'basic', '--cert', CERT, '--key', CERT_KEY] : [])],
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
  pid: server.pid,
  endpoint,
  account: ACCOUNT,
  key: KEY,
  sas: sas(day(now - year), day(now + year)),
  expired: sas(day(now - 2 * year), day(now - year)),
  read_only: sas(day(now - year), day(now + year), 'r'),
  look_only: sas(day(now - year), day(now + year), 'rl'),
  container: containerSas(containers[0], day(now - year), day(now + year)),
  expired_container: containerSas(containers[0], day(now - 2 * year), day(now - year)),
  tokens: secured ? await serveTokens(secured) : null,
  ...(secured ? APPLICATION : {}),
}));
