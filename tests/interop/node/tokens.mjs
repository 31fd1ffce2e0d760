// Logs in with imapflow (OAUTHBEARER) and nodemailer (XOAUTH2) by tokens. Standard input: the tries of tests/interop/oauth.py as JSON;
// standard output: a result for each.
import { readFileSync } from 'node:fs';
import { ImapFlow } from 'imapflow';
import nodemailer from 'nodemailer';

const task = JSON.parse(readFileSync(0, 'utf8'));
const ca = readFileSync(task.certificate);

async function imapflow({ port, user, token }) {
    const auth = { user, accessToken: token };
    const client = new ImapFlow({ host: 'localhost', port, secure: true, tls: { ca }, auth, logger: false });
    client.on('error', () => {});
    try {
        await client.connect();
        const { messages } = await client.status('INBOX', { messages: true });
        await client.logout();
        return { ok: true, messages };
    } catch (error) {
        return { ok: false, code: error.serverResponseCode ?? String(error), told: error.oauthError?.status };
    }
}

async function nodemailerTry({ port, user, token }) {
    const auth = { type: 'OAuth2', user, accessToken: token };
    const transport = nodemailer.createTransport({ host: 'localhost', port, secure: true, tls: { ca }, auth });
    try {
        await transport.sendMail({ from: user, to: user, subject: 'by nodemailer', text: 'hello' });
        return { ok: true };
    } catch (error) {
        return { ok: false, code: String(error.responseCode ?? error) };
    } finally {
        transport.close();
    }
}

const results = [];
for (const one of task.tries) {
    results.push(await (one.client === 'imapflow' ? imapflow(one) : nodemailerTry(one)));
}
console.log(JSON.stringify(results));
