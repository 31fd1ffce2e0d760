// Logs in with imapflow and nodemailer. Standard input: the tries of tests/interop/logins.py as JSON; standard output: a result for each.
import { readFileSync } from 'node:fs';
import { ImapFlow } from 'imapflow';
import nodemailer from 'nodemailer';

const task = JSON.parse(readFileSync(0, 'utf8'));
const ca = readFileSync(task.certificate);

async function imapflow({ port, secure, mechanism, password }) {
    const client = new ImapFlow({
        host: 'localhost',
        port,
        secure,
        tls: { ca },
        auth: { user: task.user, pass: password, loginMethod: mechanism },
        logger: false,
    });
    client.on('error', () => {});
    try {
        await client.connect();
        await client.status('INBOX', { messages: true });
        const tls = client.secureConnection;
        await client.logout();
        return { ok: true, tls };
    } catch (error) {
        return { ok: false, code: error.serverResponseCode ?? String(error) };
    }
}

async function nodemailerTry({ port, secure, mechanism, password }) {
    const transport = nodemailer.createTransport({
        host: 'localhost',
        port,
        secure,
        requireTLS: true,
        tls: { ca },
        authMethod: mechanism,
        auth: { user: task.user, pass: password },
    });
    try {
        await transport.sendMail({ from: task.user, to: task.user, subject: 'by nodemailer', text: 'hello' });
        return { ok: true, tls: true };
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
