// A worker that bills transactions: takes chunks of a stream, works each in one transaction with its ack, and is woken by NOTIFY.
//
// node worker.js CONNINFO-URL STREAM CONSUMER [--once]
//
// What it shows: the claim is committed before the work, so that a failed attempt is counted; work and ack are one transaction, so that the
// work happens exactly once; whoever has lost the lease (MR001, MR002) rolls back and goes on; LISTEN says that there is something to look
// for, and a look every few seconds finds what was announced while nobody listened; SIGTERM and Ctrl-C let the chunk at hand finish.
// --once: ends when there is nothing left to do. Needs the package pg (npm install). LISTEN needs a connection of its own, not a pooler's.
'use strict';
const os = require('node:os');
const { Client } = require('pg');

const LOST_LEASE = ['MR001', 'MR002'];
const [url, stream, consumer] = process.argv.slice(2);
const once = process.argv.includes('--once');
const worker = `${os.hostname()}/${process.pid}`;
let stopping = false;
let wake = () => {};

// The work itself: plain SQL over the chunk's rows.
async function bill(client, chunk, token) {
  await client.query(
    `INSERT INTO billed (chunk_no, customer, amount)
     SELECT $1::bigint, customer, sum(amount)
       FROM millrace.chunk_rows(NULL::staging.transactions, $1::bigint, $2, $3, $4) GROUP BY customer`, [chunk, stream, consumer, token]);
}

// Takes a chunk, if there is one, and works it. False: there was none.
async function workOne(client) {
  const { rows } = await client.query('SELECT chunk_no, token FROM millrace.next_chunk($1, $2, worker => $3)', [stream, consumer, worker]);
  if (rows.length === 0) return false;
  const { chunk_no: chunk, token } = rows[0];
  try {
    await client.query('BEGIN');
    await bill(client, chunk, token);
    await client.query('SELECT millrace.ack($1, $2, $3, $4)', [stream, consumer, chunk, token]);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK');
    if (LOST_LEASE.includes(error.code)) console.error(`chunk ${chunk} went to another worker`);
    // The work is rolled back; the failure is counted in a transaction of its own.
    else await client.query('SELECT millrace.nack($1, $2, $3, $4, reason => $5)', [stream, consumer, chunk, token, error.message]);
  }
  return true;
}

// Until a chunk is announced, somebody asks to stop, or five seconds are over.
function announced() {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, 5000);
    wake = () => { clearTimeout(timer); resolve(); };
  });
}

async function main() {
  const client = new Client({ connectionString: url });
  await client.connect();
  client.on('notification', () => wake());
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => { stopping = true; wake(); });
  // The channel is named after the pipeline, which is the stream's name up to its dot.
  await client.query('LISTEN ' + client.escapeIdentifier('millrace_' + stream.split('.')[0]));
  while (!stopping) {
    const pause = announced(); // before the look, so that nothing is announced in between
    if (await workOne(client)) continue;
    if (once) break;
    await pause;
  }
  await client.end();
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
