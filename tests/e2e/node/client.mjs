// Drives npm's acme-client. Reads one task as JSON from standard input; files are read and written below its `home`.
import fs from "node:fs";
import http from "node:http";
import net from "node:net";
import path from "node:path";
import tls from "node:tls";
import acme from "acme-client";

const task = JSON.parse(fs.readFileSync(0, "utf8"));
const file = (name) => path.join(task.home, name);
const read = (name) => fs.readFileSync(file(name), "utf8");
const listening = (server, port) => new Promise((done) => server.listen(port, "127.0.0.1", () => done(server)));

async function accountKey() {
  if (!fs.existsSync(file("account.key"))) {
    fs.writeFileSync(file("account.key"), await acme.crypto.createPrivateEcdsaKey());
  }
  return read("account.key");
}

async function connect() {
  const client = new acme.Client({
    directoryUrl: task.directory,
    accountKey: await accountKey(),
    externalAccountBinding: task.eab ? { kid: task.eab.kid, hmacKey: task.eab.secret } : {},
    backoffMin: 100,
    backoffMax: 1000,
  });
  await client.createAccount({ termsOfServiceAgreed: true });
  return client;
}

async function txt(act, name, value) {
  const answer = await fetch(`${task.door}/${act}`, { method: "POST", body: JSON.stringify({ fqdn: name, value }) });
  if (!answer.ok) throw new Error(`${act} ${name}: ${answer.status}`);
}

// Puts the answer to a challenge in place; resolves to what takes it away again.
const answerers = {
  async "http-01"(authorization, challenge, keyAuthorization) {
    const server = await listening(
      http.createServer((request, response) => {
        const known = request.url === `/.well-known/acme-challenge/${challenge.token}`;
        response.writeHead(known ? 200 : 404).end(known ? keyAuthorization : "");
      }),
      task.httpPort,
    );
    return () => server.close();
  },
  async "dns-01"(authorization, challenge, keyAuthorization) {
    const name = `_acme-challenge.${authorization.identifier.value}`;
    await txt("present", name, keyAuthorization);
    return () => txt("cleanup", name, keyAuthorization);
  },
  async "tls-alpn-01"(authorization, challenge, keyAuthorization) {
    const [key, cert] = await acme.crypto.createAlpnCertificate(authorization, keyAuthorization);
    const server = await listening(tls.createServer({ key, cert, ALPNProtocols: ["acme-tls/1"] }), task.tlsPort);
    return () => server.close();
  },
};

async function prove(client, authorization) {
  if (authorization.status === "valid") return;
  const challenge = authorization.challenges.find((one) => one.type === task.challenge);
  const keyAuthorization = await client.getChallengeKeyAuthorization(challenge);
  const remove = await answerers[task.challenge](authorization, challenge, keyAuthorization);
  try {
    await client.completeChallenge(challenge);
    await client.waitForValidStatus(challenge);
  } finally {
    await remove();
  }
}

async function issue(client) {
  const identifiers = task.names.map((value) => ({ type: net.isIP(value) ? "ip" : "dns", value }));
  // What the library does not know of, it passes on.
  const order = await client.createOrder({ identifiers, ...(task.profile && { profile: task.profile }) });
  for (const authorization of await client.getAuthorizations(order)) await prove(client, authorization);
  const [key, csr] = await acme.crypto.createCsr({ altNames: task.names });
  const finalized = await client.finalizeOrder(order, csr);
  fs.writeFileSync(file(`${task.stem}.crt`), await client.getCertificate(finalized));
  fs.writeFileSync(file(`${task.stem}.key`), key);
}

const acts = {
  issue,
  revoke: (client) => client.revokeCertificate(read(`${task.stem}.crt`)),
  async rollover(client) {
    const key = await acme.crypto.createPrivateEcdsaKey("P-384");
    await client.updateAccountKey(key);
    fs.writeFileSync(file("account.key"), key);
  },
  deactivate: (client) => client.updateAccount({ status: "deactivated" }),
};

fs.mkdirSync(task.home, { recursive: true });
await acts[task.act](await connect());
