// HTTP/2 as Node speaks it (nghttp2). Its arguments: the port, the file of the certificate, the login. Says "stop" when the server is to stop,
// and at last what came of it all, as JSON.

import { readFileSync } from "node:fs";
import { connect } from "node:http2";

const [port, certificate, login] = process.argv.slice(2);
const authorization = `Basic ${Buffer.from(login).toString("base64")}`;

const open = () => connect(`https://127.0.0.1:${port}`, { ca: readFileSync(certificate), servername: "localhost" });

function request(session, path, method = "GET", more = {}) {
  const stream = session.request({ ":path": path, ":method": method, ...more });
  const answer = new Promise((resolve, reject) => {
    let status = 0;
    const pieces = [];
    stream.on("response", (head) => { status = head[":status"]; });
    stream.on("data", (piece) => pieces.push(piece));
    stream.on("end", () => resolve({ status, body: Buffer.concat(pieces).toString() }));
    stream.on("error", reject);
  });
  return { stream, answer };
}

const message = (subject, attachments = []) =>
  JSON.stringify({ from: { address: "ringmail@localhost" }, to: [{ address: "ann@example.net" }], subject, text: "Hi\n", attachments });
const json = { authorization, "content-type": "application/json" };

const session = open();
// More than the server takes at once: the rest waits here.
const many = await Promise.all(Array.from({ length: 300 }, () => request(session, "/healthz").answer));
const alive = many.filter(({ status, body }) => status === 200 && body === "alive\n").length;

const send = (subject, attachments) => {
  const { stream, answer } = request(session, "/webapi/v1/messages", "POST", json);
  stream.end(message(subject, attachments));
  return answer;
};
const content = Buffer.alloc(5 << 20, "ringmail").toString("base64");
const sent = await Promise.all([send("small"), send("large", [{ filename: "a", content }]), send("also small")]);
const document = await request(session, "/webapi/v1/openapi.json").answer;

const goaway = new Promise((resolve) => session.once("goaway", resolve));
const last = request(session, "/webapi/v1/messages", "POST", json);
const text = message("last");
last.stream.write(text.slice(0, 10));
// Behind it, so that it is taken when this is answered.
await request(session, "/healthz").answer;
console.log("stop");
await goaway;
last.stream.end(text.slice(10));
const answered = await last.answer;
const closed = new Promise((resolve) => (session.closed ? resolve() : session.once("close", resolve)));
await closed;
console.log(JSON.stringify({ alive, sent: sent.map(({ status }) => status), paths: Object.keys(JSON.parse(document.body).paths).length, last: answered.status }));
