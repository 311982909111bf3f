// Creates a container in Azurite, once it answers, and ends. One that is there already is fine.
//   node create-container.mjs <endpoint with account> <account> <key> <container>
import { createHmac } from 'node:crypto';

const [endpoint, account, key, container] = process.argv.slice(2);

const create = () => {
  const date = new Date().toUTCString();
  const version = '2021-08-06';
  // The account stands in the path, once as the URL has it and once as the resource is named.
  const path = new URL(endpoint).pathname;
  const text = ['PUT', '', '', '', '', '', '', '', '', '', '', '', `x-ms-date:${date}`, `x-ms-version:${version}`,
    `/${account}${path}/${container}`, 'restype:container'].join('\n');
  const signature = createHmac('sha256', Buffer.from(key, 'base64')).update(text, 'utf8').digest('base64');
  return fetch(`${endpoint}/${container}?restype=container`, {
    method: 'PUT',
    headers: { 'x-ms-date': date, 'x-ms-version': version, Authorization: `SharedKey ${account}:${signature}` },
  });
};

for (let attempt = 0; attempt < 60; attempt++) {
  const answer = await create().catch((e) => ({ status: 0, text: async () => e.message }));
  if (answer.status === 201 || answer.status === 409) process.exit(0);
  if (answer.status >= 400 && answer.status < 500) {
    console.error(`${answer.status} ${await answer.text()}`);
    process.exit(1);
  }
  await new Promise((resolve) => setTimeout(resolve, 1000));
}
console.error(`${endpoint} does not answer`);
process.exit(1);
