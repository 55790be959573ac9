/** Against a running tokenhub, which the environment names: see tests/extra/test_typescript_client.py. */
import assert from "node:assert/strict";
import { createHmac, randomUUID } from "node:crypto";
import { test } from "node:test";

import { ProblemError, TokenHub, UnreachableError, readNotification, type Options } from "../src/index.js";

const URL = process.env.TOKENHUB_URL ?? "";
const KEY = process.env.TOKENHUB_MOBILE_KEY ?? "";
const SERVER_KEY = process.env.TOKENHUB_SERVER_KEY ?? "";
const JWT_SECRET = process.env.TOKENHUB_JWT_SECRET ?? "";
const NOBODY = "http://127.0.0.1:1"; // answers no one

class Memory {
  readonly items = new Map<string, string>();

  getItem(key: string): string | null {
    return this.items.get(key) ?? null;
  }

  setItem(key: string, value: string): void {
    this.items.set(key, value);
  }
}

class Phone {
  readonly storage = new Memory();
  readonly secrets = new Memory();
  token = `fcm:${randomUUID()}`;
  waited: number[] = [];

  hub(options: Partial<Options> = {}): TokenHub {
    return new TokenHub({
      url: URL,
      key: KEY,
      platform: "android",
      storage: this.storage,
      secrets: this.secrets,
      wait: async (milliseconds) => void this.waited.push(milliseconds),
      ...options,
    });
  }

  state(): { events: unknown[]; signOut: boolean; sequence: number; installationId: string } {
    return JSON.parse(this.storage.getItem("tokenhub.state") ?? "{}");
  }
}

function userToken(user: string, seconds = 300): { token: string } {
  const now = Math.floor(Date.now() / 1000);
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = { iss: "https://login.example.com", aud: "shop", sub: user, iat: now, exp: now + seconds };
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return { token: `${text}.${createHmac("sha256", JWT_SECRET).update(text).digest("base64url")}` };
}

async function known(hub: TokenHub): Promise<{ status: number; user: { id: string } | null; token_end: string }> {
  const answer = await fetch(`${URL}/api/v1/devices/${await hub.installationId()}`, {
    headers: { Authorization: `Bearer ${SERVER_KEY}` },
  });
  return { status: answer.status, ...((await answer.json()) as { user: { id: string } | null; token_end: string }) };
}

test("the first launch makes the device, later ones find it", async () => {
  const phone = new Phone();
  assert.equal(await phone.hub().launch({ token: phone.token }), "created");
  assert.match(phone.secrets.getItem("tokenhub.secret") ?? "", /^thub_ins_/);
  assert.equal(await phone.hub().launch({ token: phone.token }), "unchanged");
  assert.equal(await phone.hub().launch({ token: phone.token, info: { model: "Pixel 9" } }), "updated");
});

test("a changed token takes the old one's place", async () => {
  const phone = new Phone();
  const hub = phone.hub();
  await hub.launch({ token: phone.token });
  assert.equal(await hub.launch({ token: "fcm:another-token-of-it" }), "updated");
  assert.equal((await known(hub)).token_end, "-of-it");
});

test("who signs in is named by their token, stays signed in, and signs out", async () => {
  const phone = new Phone();
  const hub = phone.hub();
  await hub.launch({ token: phone.token, user: userToken("anna") });
  assert.deepEqual((await known(hub)).user, { id: "anna" });
  await hub.launch({ token: phone.token });
  assert.deepEqual((await known(hub)).user, { id: "anna" });
  await hub.signOut();
  assert.equal((await known(hub)).user, null);
});

test("an expired user token is told apart", async () => {
  const phone = new Phone();
  await assert.rejects(
    phone.hub().launch({ token: phone.token, user: userToken("anna", -600) }),
    (error) => error instanceof ProblemError && error.type === "user-token-expired" && error.status === 403,
  );
});

test("a sign-out without a network is told before anything else", async () => {
  const phone = new Phone();
  const hub = phone.hub();
  await hub.launch({ token: phone.token, user: userToken("anna") });
  await assert.rejects(phone.hub({ url: NOBODY }).signOut(), UnreachableError);
  assert.deepEqual((await known(hub)).user, { id: "anna" });
  await hub.launch({ token: phone.token }); // another process of the same app
  assert.equal((await known(hub)).user, null);
  assert.equal(phone.state().signOut, false);
});

test("who signs in after a sign-out that was not told stays signed in", async () => {
  const phone = new Phone();
  const hub = phone.hub();
  await hub.launch({ token: phone.token, user: userToken("anna") });
  await assert.rejects(phone.hub({ url: NOBODY }).signOut(), UnreachableError);
  await assert.rejects(hub.launch({ token: phone.token, user: userToken("cleo", -600) }), ProblemError);
  assert.equal(phone.state().signOut, true); // cleo's token was no good: anna's sign-out has to be told still
  await hub.launch({ token: phone.token, user: userToken("cleo") });
  await hub.flush();
  assert.deepEqual((await known(hub)).user, { id: "cleo" });
});

test("calls made at once are sent one after the other", async () => {
  const phone = new Phone();
  const hub = phone.hub();
  const told: string[] = [];
  await hub.launch({ token: phone.token });
  await Promise.all([
    hub.launch({ token: phone.token, user: userToken("anna") }).then(() => told.push("anna")),
    hub.signOut().then(() => told.push("out")),
    hub.launch({ token: phone.token, user: userToken("bert") }).then(() => told.push("bert")),
  ]);
  assert.deepEqual(told, ["anna", "out", "bert"]);
  assert.deepEqual((await known(hub)).user, { id: "bert" });
});

test("a post that was overtaken on its way is stale", async () => {
  const phone = new Phone();
  const hub = phone.hub();
  for (let number = 0; number < 3; number += 1) await hub.launch({ token: phone.token });
  phone.storage.setItem("tokenhub.state", JSON.stringify({ ...phone.state(), sequence: 0 }));
  assert.equal(await hub.launch({ token: phone.token, user: userToken("anna") }), "stale");
  assert.equal((await known(hub)).user, null);
});

test("without its secret the phone begins anew", async () => {
  const phone = new Phone();
  const hub = phone.hub();
  await hub.launch({ token: phone.token });
  await hub.launch({ token: phone.token }); // shows it once
  const before = await hub.installationId();
  phone.secrets.items.clear();
  assert.equal(await hub.launch({ token: phone.token }), "created");
  assert.notEqual(await hub.installationId(), before);
});

test("of two phones with one backup the second gets an id of its own", async () => {
  const phone = new Phone();
  const other = new Phone();
  await phone.hub().launch({ token: phone.token });
  await phone.hub().launch({ token: phone.token });
  other.storage.setItem("tokenhub.state", JSON.stringify(phone.state())); // the secret is in no backup
  assert.equal(await other.hub().launch({ token: other.token }), "created");
  assert.notEqual(other.state().installationId, phone.state().installationId);
  assert.equal(await phone.hub().launch({ token: phone.token }), "unchanged");
});

test("events wait for the network and are sent once", async () => {
  const phone = new Phone();
  const hub = phone.hub();
  await hub.launch({ token: phone.token });
  const offline = phone.hub({ url: NOBODY });
  for (let number = 0; number < 120; number += 1) await offline.opened(randomUUID());
  await offline.opened(null);
  assert.equal(phone.state().events.length, 120);
  const sent: unknown[][] = [];
  const watched: typeof fetch = async (input, init) => {
    const answer = await fetch(input, init);
    sent.push(((await answer.clone().json()) as { results: unknown[] }).results);
    return answer;
  };
  const before = phone.state();
  assert.equal(await phone.hub({ fetch: watched }).flush(), 0);
  phone.storage.setItem("tokenhub.state", JSON.stringify(before)); // the answer did not reach the phone
  assert.equal(await phone.hub({ fetch: watched }).flush(), 0);
  assert.deepEqual(sent.map((results) => results.length), [100, 20, 100, 20]);
  const results = sent.flat().map((item) => (item as { result: string }).result);
  assert.deepEqual(results, [...Array<string>(120).fill("accepted"), ...Array<string>(120).fill("duplicate")]);
});

test("events that the phone can not prove wait for a launch", async () => {
  const phone = new Phone();
  const hub = phone.hub();
  await hub.launch({ token: phone.token });
  await hub.launch({ token: phone.token });
  phone.secrets.items.clear();
  await hub.opened(randomUUID());
  assert.equal(phone.state().events.length, 1);
  await hub.launch({ token: phone.token });
  assert.equal(phone.state().events.length, 0);
});

test("what may pass is tried again, when the server says so", async () => {
  const phone = new Phone();
  let calls = 0;
  const busy: typeof fetch = async (input, init) => {
    calls += 1;
    if (calls === 1) return new Response("{}", { status: 503, headers: { "Retry-After": "7" } });
    if (calls === 2) return new Response("busy", { status: 429 });
    if (calls === 3) throw new TypeError("fetch failed");
    return await fetch(input, init);
  };
  assert.equal(await phone.hub({ fetch: busy }).launch({ token: phone.token }), "created");
  assert.equal(phone.waited.length, 3);
  assert.ok(phone.waited[0]! >= 7_000 && phone.waited[0]! < 10_500);
  assert.ok(phone.waited[1]! >= 2_000 && phone.waited[1]! < 3_000);
  assert.ok(phone.waited[2]! >= 4_000 && phone.waited[2]! < 6_000);
});

test("who is asked to come back in an hour does not come sooner", async () => {
  const phone = new Phone();
  let calls = 0;
  const closed: typeof fetch = async () => {
    calls += 1;
    return new Response("", { status: 503, headers: { "Retry-After": "3600" } });
  };
  await assert.rejects(phone.hub({ fetch: closed }).launch({ token: phone.token }), UnreachableError);
  assert.deepEqual([calls, phone.waited], [1, []]);
});

test("a call without an end is given up", async () => {
  const phone = new Phone();
  const silent: typeof fetch = (_, init) =>
    new Promise((_done, fail) => init?.signal?.addEventListener("abort", () => fail(new Error("aborted"))));
  await assert.rejects(phone.hub({ fetch: silent, timeout: 20 }).launch({ token: phone.token }), UnreachableError);
  assert.equal(phone.waited.length, 3);
});

test("a wrong token is a problem that names the field", async () => {
  await assert.rejects(
    new Phone().hub({ platform: "ios" }).launch({ token: "no hex" }),
    (error) => error instanceof ProblemError && error.status === 400 && error.message.startsWith("token: "),
  );
});

test("a notification's data are read, and consent says which link", () => {
  const data = { trackingId: "5b2f5a1e-63b9-4a0e-9f3a-3f1f0a7f3c11", link: "https://r.example/1", originalLink: "https://example.com" };
  assert.deepEqual(readNotification(data, true), { trackingId: data.trackingId, link: data.link });
  assert.deepEqual(readNotification({ data }, false), { trackingId: data.trackingId, link: data.originalLink });
  assert.deepEqual(readNotification({ data: JSON.stringify(data) }, true), { trackingId: data.trackingId, link: data.link });
  for (const trackingId of ["", null, "00000000-0000-0000-0000-000000000000"]) {
    assert.deepEqual(readNotification({ ...data, trackingId }, true), { trackingId: null, link: data.link });
  }
  assert.deepEqual(readNotification("nonsense", true), { trackingId: null, link: null });
});
