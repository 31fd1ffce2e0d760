// Makes messages with nodemailer. Standard input: an array of its options, with file contents in base64; standard output: the messages, in base64.
import { readFileSync } from 'node:fs';
import nodemailer from 'nodemailer';

const transport = nodemailer.createTransport({ streamTransport: true, buffer: true, newline: 'windows' });
const made = [];
for (const options of JSON.parse(readFileSync(0, 'utf8'))) {
    const files = [...(options.attachments ?? []), ...(options.alternatives ?? [])];
    files.forEach((file) => (file.content = Buffer.from(file.content, 'base64')));
    options.date = new Date(options.date);
    made.push((await transport.sendMail(options)).message.toString('base64'));
}
process.stdout.write(JSON.stringify(made));
