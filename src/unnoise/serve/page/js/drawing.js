/** A drawing under way: samples asked for in as many jobs as the server wants, followed until they stand. */

import { Trouble, ask, bytes, events, json, sentence } from "./api.js";
import { exact, npy, unzip } from "./files.js";

/**
 * Draws samples by `body` (see state.request), one for each of `seeds`; labels: one each, or null.
 *
 * hear: {preview(i, told), done(i, item), progress(done, of), place(n), failed(i, reason)}, each if there is one.
 * Gives {cancel, finished}; finished is the promise of {items, seconds, first}: first: seconds to the first preview.
 */
export function draw({ body, seeds, labels, most = 64, rest = {} }, hear = {}) {
  const stopper = new AbortController();
  const jobs = new Set();
  const parts = [];
  for (let i = 0; i < seeds.length; i += most) parts.push([i, seeds.slice(i, i + most), labels?.slice(i, i + most)]);
  const done = new Array(parts.length).fill(0);
  const of = new Array(parts.length).fill(0);
  const begun = performance.now();
  const since = () => (performance.now() - begun) / 1000;
  let first = null;
  let cancelled = false;

  async function part(number, [offset, own, told]) {
    const asked = { ...body, ...rest, format: "zip", ...(told ? { label: told } : {}) };
    const job = await accepted(withSeeds(asked, own), () => cancelled, hear);
    if (cancelled) {
      stop(job.id);
      throw new DOMException("cancelled", "AbortError");
    }
    jobs.add(job.id);
    try {
      for await (const { name, told: news } of events(job.id, stopper.signal)) {
        if (name === "queued" && news.place !== null) hear.place?.(news.place);
        if (name === "step") {
          [done[number], of[number]] = [news.done, news.of];
          hear.progress?.(sum(done), Math.max(sum(of), (news.of * seeds.length) / own.length));
        }
        if (name === "preview") {
          first ??= since();
          hear.preview?.(offset + news.sample, news);
        }
        if (name === "failed") throw new Trouble(422, "failed", sentence(news.error || "Every sample has failed."));
        if (name === "expired") throw new Trouble(504, "expired", "It took longer than a job may.");
        if (name === "cancelled") throw new DOMException("cancelled", "AbortError");
        for (const [i, reason] of Object.entries(news.failures || {})) hear.failed?.(offset + Number(i), reason);
      }
    } finally {
      jobs.delete(job.id);
    }
    return (await collected(job.id, stopper.signal)).map(([i, item]) => {
      hear.done?.(offset + i, item);
      return [offset + i, item];
    });
  }

  async function all() {
    const made = await Promise.all(parts.map((one, number) => part(number, one)));
    return { items: new Map(made.flat()), seconds: since(), first };
  }

  const finished = all().catch((error) => {
    cancel();
    throw error;
  });

  function cancel() {
    if (cancelled) return;
    cancelled = true;
    for (const job of jobs) stop(job);
    stopper.abort();
  }

  return { cancel, finished };
}

const sum = (values) => values.reduce((a, b) => a + b, 0);
const stop = (job) => ask(`v1/jobs/${job}`, { method: "DELETE" }).catch(() => null);

/** A request as JSON whose seeds are whole numbers of any length. */
export const withSeeds = (asked, seeds) => JSON.stringify(asked).replace(/}$/, `,"seeds":[${seeds.join(",")}]}`);

/** Sends a job; where there is no room, again when the server said so. It is not cut off: what is accepted has a name. */
async function accepted(body, cancelled, hear) {
  for (let tries = 0; ; tries++) {
    try {
      return await json("v1/jobs", { body });
    } catch (error) {
      if (!(error instanceof Trouble) || error.status !== 429 || tries > 20 || cancelled()) throw error;
      hear.place?.("full");
      await new Promise((resume) => setTimeout(resume, 1000 * Math.min(error.retry || 1, 10)));
    }
  }
}

/** What a job has drawn: [sample, {settings, png | values}] of each. */
async function collected(job, signal) {
  const files = unzip(await bytes(`v1/jobs/${job}/result?format=zip`, { signal }));
  const told = exact(new TextDecoder().decode(files.get("job.json"))).samples;
  const pictures = [...files.keys()].filter((name) => name.endsWith(".png")).sort();
  if (pictures.length) {
    return pictures.map((name, k) => [Number(name.slice(0, -4)), { settings: told[k], png: files.get(name) }]);
  }
  const { shape, values } = npy(files.get("samples.npy"));
  const size = values.length / shape[0];
  return told.map((settings, k) => [k, { settings, values: values.slice(k * size, (k + 1) * size) }]);
}
