/** What is kept: pictures with their settings, in this browser's own database. */

const NAME = "unnoise";

let opened = null;

function base() {
  opened ??= new Promise((resolve, reject) => {
    const asked = indexedDB.open(NAME, 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore("kept", { keyPath: "id", autoIncrement: true });
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
  return opened;
}

async function within(mode, work) {
  const store = (await base()).transaction("kept", mode).objectStore("kept");
  const asked = work(store);
  return new Promise((resolve, reject) => {
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
}

/** Hears "change" when anything is kept or forgotten. */
export const gallery = new (class extends EventTarget {
  async keep(item) {
    const twin = (await this.all()).find((one) => same(one, item));
    if (twin && !item.id) return twin.id;
    const id = await within("readwrite", (store) => store.put({ kept: Date.now(), favourite: false, note: "", ...item }));
    this.dispatchEvent(new Event("change"));
    navigator.storage?.persist?.();
    return id;
  }

  async change(id, changes) {
    const item = await within("readonly", (store) => store.get(id));
    if (!item) return;
    await within("readwrite", (store) => store.put({ ...item, ...changes }));
    this.dispatchEvent(new Event("change"));
  }

  async forget(id) {
    await within("readwrite", (store) => store.delete(id));
    this.dispatchEvent(new Event("change"));
  }

  /** All of it, the newest first. */
  async all() {
    return (await within("readonly", (store) => store.getAll())).sort((a, b) => b.kept - a.kept);
  }
})();

const same = (one, other) => JSON.stringify(one.settings) === JSON.stringify(other.settings) && JSON.stringify(one.values ?? null) === JSON.stringify(other.values ?? null);

/** Whether every word of a search stands in what is known of a picture. */
export function matches(item, words) {
  const { bits, weights, ...told } = item.settings;
  const known = [item.note, ...Object.entries(told).map(([name, value]) => `${name} ${value} ${name}=${value}`)].join(" ").toLowerCase();
  return words.toLowerCase().split(/\s+/).filter(Boolean).every((word) => known.includes(word));
}

/** A file's name that says what it holds. */
export function fileName(item) {
  const { run, label, seed, sampler, steps } = item.settings;
  const parts = [run, label === undefined ? null : `label-${label}`, `seed-${seed}`, sampler, steps ? `${steps}-steps` : null];
  return parts.filter(Boolean).join("-").replace(/[^A-Za-z0-9_.-]+/g, "_");
}
