// nodemailer with a pool. `node nodemailer.cjs FOLDER PORT COUNT` prints the seconds of CPU of this process for COUNT mails;
// `node nodemailer.cjs FOLDER check COUNT` writes COUNT mails into the folder instead.
'use strict';
const { createHmac } = require('node:crypto');
const { readFileSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');
const nodemailer = require('nodemailer');

const WARM = 200; // as in given.py
const AT_ONCE = 100; // mails handed to the pool
const [folder, port, count] = [process.argv[2], process.argv[3], Number(process.argv[4])];
const given = JSON.parse(readFileSync(join(folder, 'given.json'), 'utf8'));
const keys = Object.fromEntries(Object.entries(given.keys).map(([purpose, key]) => [purpose, Buffer.from(key, 'hex')]));
const ESCAPES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

function token(purpose, text) {
  const signature = createHmac('sha256', keys[purpose]).update(text).digest().subarray(0, 16);
  return `${text}.${signature.toString('base64url')}`;
}

function mail({ address, ref, name }) {
  const called = name || 'you';
  const [track, way] = [token('track', ref), token('leave', ref)];
  const [leave, preferences] = [given.leave_url + way, `${given.leave_url}preferences/${way}`];
  const places = { '{leave}': leave, '{preferences}': preferences, '{track}': track };
  const filled = (text, shown) => Object.entries({ ...places, '{name}': shown }).reduce((done, [from, to]) => done.replaceAll(from, to), text);
  return {
    from: { name: given.from_name, address: given.from_address },
    to: address,
    subject: given.subject.replaceAll('{name}', called),
    date: given.date,
    messageId: `<${token('message', ref)}@${given.list_domain}>`,
    headers: {
      'List-Unsubscribe': `<${leave}>`,
      'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click',
      'List-Id': `${given.list_name} <${given.list_domain}>`,
    },
    text: filled(given.text, called),
    html: filled(given.html, called.replace(/[&<>"']/g, (found) => ESCAPES[found])),
  };
}

async function check() {
  const transport = nodemailer.createTransport({ streamTransport: true, buffer: true, newline: 'windows' });
  for (const [n, recipient] of given.recipients.slice(0, count).entries()) {
    const { message } = await transport.sendMail(mail(recipient));
    writeFileSync(join(folder, `${n}.eml`), message);
  }
}

async function send(recipients) {
  const transport = nodemailer.createTransport({
    pool: true, host: '127.0.0.1', port: Number(port), ignoreTLS: true, maxConnections: 1, maxMessages: Infinity,
  });
  for (let start = 0; start < recipients.length; start += AT_ONCE) {
    await Promise.all(recipients.slice(start, start + AT_ONCE).map((recipient) => transport.sendMail(mail(recipient))));
  }
  transport.close();
}

async function main() {
  if (port === 'check') return check();
  await send(given.recipients.slice(count, count + WARM));
  const before = process.cpuUsage();
  await send(given.recipients.slice(0, count));
  const { user, system } = process.cpuUsage(before);
  console.log((user + system) / 1e6);
}

main();
