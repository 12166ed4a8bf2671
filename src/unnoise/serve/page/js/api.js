/** The server, asked: answers as JSON or bytes, troubles in words that say what to do, events that survive a cut. */

const KEY = "unnoise.key";

/** What went wrong. code: the server's short word, "offline" where it did not answer; retry: seconds. */
export class Trouble extends Error {
  constructor(status, code, message, retry = null) {
    super(message);
    Object.assign(this, { status, code, retry });
  }

  /** What can be done about it. */
  get remedy() {
    const told = {
      offline: "Is `unnoise serve` still running in its terminal? The page tries again by itself.",
      invalid_api_key: "Give the key that `unnoise serve --new-key NAME` has shown.",
      too_much: "Ask for less: fewer samples, fewer steps, or a smaller size.",
      queue_full: "The page tries again by itself as soon as there is room.",
      expired: "Ask for fewer samples or steps, or start the server with a longer --deadline.",
      gone: "Draw it again: the seed gives the same picture.",
      internal: "The server's log says more, in the terminal where it runs.",
      not_done: "Wait a moment, then try again.",
    }[this.code];
    return told || (this.status === 400 || this.status === 422 ? "Change the setting that it names, and try again." : "Try again.");
  }
}

/** Hears { online } when the server is lost or found, and { key } when one is wanted. */
export const link = new EventTarget();
let online = true;

function heard(now) {
  if (now === online) return;
  online = now;
  link.dispatchEvent(new CustomEvent("online", { detail: now }));
  if (!now) comeBack();
}

async function comeBack() {
  while (!online) {
    await new Promise((resume) => setTimeout(resume, 2000));
    try {
      heard((await fetch("v1/page")).ok);
    } catch {
      // still away
    }
  }
}

export const isOnline = () => online;
export const key = { get: () => localStorage.getItem(KEY) || "", set: (word) => localStorage.setItem(KEY, word.trim()) };

/** An answer of the server, or a Trouble. body: an object, or text that is JSON already. */
export async function ask(path, { method = "GET", body = null, headers = {}, signal = undefined, tries = 5 } = {}) {
  const sent = { ...headers };
  if (key.get()) sent.authorization = `Bearer ${key.get()}`;
  if (body !== null) sent["content-type"] = "application/json";
  const text = body === null || typeof body === "string" ? body : JSON.stringify(body);
  let answer;
  try {
    answer = await fetch(path, { method: body === null ? method : "POST", body: text, headers: sent, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    heard(false);
    throw new Trouble(0, "offline", "The server does not answer.");
  }
  heard(true);
  if (answer.ok) return answer;
  const told = await answer.json().then((found) => found.error, () => null);
  const retry = Number(answer.headers.get("retry-after")) || null;
  const trouble = new Trouble(answer.status, told?.code || "http", sentence(told?.message || `The server said ${answer.status}.`), retry);
  if (trouble.code === "rate_limit_exceeded" && tries > 0) {
    await new Promise((resume) => setTimeout(resume, 1000 * (retry || 1) + 300 * Math.random()));
    return ask(path, { method, body, headers, signal, tries: tries - 1 });
  }
  if (answer.status === 401) link.dispatchEvent(new Event("key"));
  throw trouble;
}

export const json = async (path, options) => (await ask(path, options)).json();
export const bytes = async (path, options) => new Uint8Array(await (await ask(path, options)).arrayBuffer());

/** A sentence begins large and ends with a stop. */
export function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(whole) ? whole : `${whole}.`;
}

const STREAMS = 4; // at once: a browser holds six connections to a host, and some must stay free
let streams = 0;

/** The events of a job until it ends: {name, told}. Where many are listened to, this one is asked about now and then. */
export async function* events(job, signal) {
  while (streams >= STREAMS) {
    const { status, progress } = await json(`v1/jobs/${job}`, { signal });
    if (ENDS.includes(status)) break; // its stream ends as it begins
    yield { name: "step", told: progress };
    await new Promise((resume) => setTimeout(resume, 700 + 600 * Math.random()));
  }
  streams++;
  try {
    yield* streamed(job, signal);
  } finally {
    streams--;
  }
}

/** A cut connection is taken up where it broke. */
async function* streamed(job, signal) {
  let last = "";
  for (let tries = 0; tries < 60; tries++) {
    try {
      const answer = await ask(`v1/jobs/${job}/events`, { headers: last ? { "last-event-id": last } : {}, signal });
      for await (const event of parsed(answer.body)) {
        tries = 0;
        last = event.id || last;
        yield event;
        if (ENDS.includes(event.name)) return;
      }
    } catch (error) {
      if (error.name === "AbortError" || (error instanceof Trouble && error.status >= 400 && error.status < 500)) throw error;
    }
    await new Promise((resume) => setTimeout(resume, 1000));
  }
  throw new Trouble(0, "offline", "The server was lost while it drew.");
}

export const ENDS = ["done", "failed", "cancelled", "expired"];

/** Server-sent events of a stream of bytes (HTML Living Standard, 9.2). */
export async function* parsed(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value;
    const blocks = rest.split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = {};
      for (const line of block.split("\n")) {
        const cut = line.indexOf(": ");
        if (cut > 0) fields[line.slice(0, cut)] = line.slice(cut + 2);
      }
      if (fields.event) yield { id: fields.id, name: fields.event, told: JSON.parse(fields.data) };
    }
  }
}
