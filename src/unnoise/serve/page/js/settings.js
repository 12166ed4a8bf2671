/** What is to be drawn, as the page's controls have it; remembered from one visit to the next. */

const PLACE = "unnoise.settings";
const FIRST = {
  model: null, label: "turn", sampler: null, steps: null, guidance: null, seed: "7", locked: false,
  count: null, grid: null, options: "", size: "", live: true, text: "", tell: {},
};
export const STEPS = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 20, 25, 30, 35, 40, 50, 60, 80, 100, 125, 150, 200, 250, 300, 400, 500, 700, 1000];
export const COMMON = ["dpmpp_2m", "heun", "ddim", "ddpm", "unipc_3", "dpmpp_2m_sde", "euler_ancestral", "euler", "sa_solver"];

/** The models and the settings; hears "change" when any of it does. */
export const state = new (class extends EventTarget {
  models = [];
  now = { ...FIRST };

  /** Takes in what the server can draw, and mends settings that it knows nothing of. */
  begin(models) {
    this.models = models;
    try {
      this.now = { ...FIRST, ...JSON.parse(localStorage.getItem(PLACE) || "{}") };
    } catch {
      this.now = { ...FIRST };
    }
    this.mend();
  }

  get model() {
    return this.models.find((model) => model.id === this.now.model) || this.models[0];
  }

  get controls() {
    return this.model.controls;
  }

  get pictures() {
    return this.model.draws !== "points";
  }

  /** What holds where nothing is set. */
  standard(name) {
    return this.controls[name]?.default ?? { guidance: 1, steps: 30, grid: null }[name] ?? null;
  }

  value(name) {
    return this.now[name] ?? this.standard(name);
  }

  get count() {
    return this.now.count ?? (this.pictures ? 16 : 256);
  }

  set(changes) {
    Object.assign(this.now, changes);
    this.mend();
    localStorage.setItem(PLACE, JSON.stringify(this.now));
    this.dispatchEvent(new CustomEvent("change", { detail: Object.keys(changes) }));
  }

  mend() {
    const { now, controls } = this;
    now.model = this.model.id;
    const names = controls.label?.names;
    if (!names) now.label = null;
    else if (now.label !== null && now.label !== "turn" && !names.includes(now.label)) now.label = "turn";
    if (now.sampler !== null && !knows(this.model, now.sampler)) now.sampler = null;
    if (now.grid !== null && !controls.grid.names.includes(now.grid)) now.grid = null;
    if (now.sampler === "tuned") Object.assign(now, { grid: null, options: "", steps: this.nearest(now.steps ?? 8) });
    if (now.steps !== null) now.steps = Math.min(Math.max(1, now.steps), controls.steps.most);
    if (!controls.guidance) now.guidance = null;
    now.tell = Object.fromEntries(Object.entries(now.tell ?? {}).filter(([name, value]) => controls.tell?.[name] && value !== ""));
    if (!/^\d{1,20}$/.test(now.seed)) now.seed = "7";
  }

  /** The tuned plans for the guidance that is set. */
  get plans() {
    const weight = this.value("guidance");
    return (this.controls.tuned?.plans ?? []).filter(({ guidance }) => (Array.isArray(guidance) ? guidance[0] <= weight && weight <= guidance[1] : guidance === weight));
  }

  /** The number of evaluations next to `steps` that a plan is tuned to; itself where none is. */
  nearest(steps) {
    const counts = this.plans.map((plan) => plan.evaluations);
    return counts.reduce((best, n) => (Math.abs(n - steps) < Math.abs(best - steps) ? n : best), counts[0] ?? steps);
  }

  /** The seeds of so many samples, as words: a seed may have more digits than a double holds. */
  seeds(count = this.count) {
    const first = BigInt(this.now.seed);
    return Array.from({ length: count }, (_, i) => String(BigInt.asUintN(64, first + BigInt(i))));
  }

  /** What each of so many samples is told. */
  labels(count = this.count) {
    const names = this.controls.label?.names;
    if (!names || this.now.label === null) return null;
    return Array.from({ length: count }, (_, i) => (this.now.label === "turn" ? names[i % names.length] : this.now.label));
  }

  /** The request without seeds and labels; silent where the model's own way is taken. */
  request(changes = {}) {
    const now = { ...this.now, ...changes };
    const body = { model: now.model };
    for (const name of ["sampler", "steps", "guidance", "grid"]) if (now[name] !== null) body[name] = now[name];
    if (now.size.trim() && this.model.any_size) body.size = now.size.trim();
    if (now.sampler === "tuned") {
      delete body.grid;
      delete body.steps;
      body.options = { evaluations: now.steps ?? this.nearest(8) };
    } else if (now.options.trim()) body.options = optionsOf(now.options);
    if (this.controls.text && now.text.trim()) body.text = now.text.trim();
    const told = Object.entries(now.tell).map(([name, value]) => [name, this.value_of(name, value)]);
    if (told.length) body.tell = Object.fromEntries(told);
    return body;
  }

  /** What a condition is told, from what stands in its field: a word, several, a number or several. */
  value_of(name, words) {
    const { kind, many, count } = this.controls.tell[name];
    const parts = words.split(",").map((word) => word.trim()).filter(Boolean).map((word) => (word === "*" ? null : word));
    if (kind === "choice") return many ? parts : words;
    const numbers = parts.map((word) => (word === null || !Number.isFinite(Number(word)) ? word : Number(word)));
    return count ? numbers : numbers[0];
  }

  /** Takes the settings of a picture; the names of those that this server cannot follow. */
  take(told) {
    const known = new Set(["seed", "label", "text", "tell", "sampler", "steps", "grid", "guidance", "run", "size", ...MADE]);
    const lost = [];
    const named = String(told.model ?? told.run ?? "").split("/").pop(); // a terminal's pictures name a folder
    const model = this.models.find((one) => one.id === named);
    if (!model && told.run) lost.push(`the model ${told.run}`);
    const changes = { model: (model || this.model).id, locked: true, grid: told.grid ?? null, size: told.size ?? "" };
    const seed = told.seed ?? told.seeds?.[0];
    if (seed !== undefined) changes.seed = String(seed);
    for (const [name, what] of [["lora", "its LoRA"], ["ema", "its average of the weights"], ["start", "the noise that it began at"]]) if (told[name]) lost.push(what);
    if (told.sampler && !knows(model || this.model, told.sampler)) lost.push(`the sampler ${told.sampler}`);
    if (told.sampler) changes.sampler = told.sampler;
    if (told.steps) changes.steps = told.steps;
    changes.guidance = typeof told.guidance === "number" ? told.guidance : null;
    if (typeof told.guidance === "string") lost.push(`the guides “${told.guidance}”`);
    changes.label = told.label === undefined || told.label === null ? null : this.named(model || this.model, told.label);
    changes.text = [told.text ?? ""].flat()[0];
    changes.tell = Object.fromEntries(Object.entries(told.tell ?? {}).map(([name, value]) => [name, [value].flat().join(", ")]));
    const rest = Object.entries(told).filter(([name, value]) => !known.has(name) && ["number", "string", "boolean"].includes(typeof value));
    changes.options = rest.map(([name, value]) => `${name}=${value}`).join(" ");
    if (told.image) lost.push("the picture that it began with");
    this.set(changes);
    return lost;
  }

  named(model, label) {
    const names = model.controls.label?.names || [];
    return names.includes(String(label)) ? String(label) : names[Number(label)] ?? null;
  }
})();

/** Whether a model can be drawn from so: by a sampler that is written out, or by plans tuned to it. */
export const knows = (model, sampler) => (sampler === "tuned" ? Boolean(model.controls.tuned) : model.controls.sampler.names.includes(sampler));

/** What a picture says beside the options of its sampler. */
const MADE = new Set(["weights", "bits", "plan", "evaluations", "ema", "seeds", "image", "mask", "strength", "model", "lora", "start", "between"]);

/** "eta=0.5 order=2" as an object. */
export function optionsOf(words) {
  const found = {};
  for (const word of words.trim().split(/[\s,]+/).filter(Boolean)) {
    const [name, value = ""] = word.split("=");
    found[name] = value === "true" ? true : value === "false" ? false : value !== "" && Number.isFinite(Number(value)) ? Number(value) : value;
  }
  return found;
}

/** A seed that is easy to say. */
export const randomSeed = () => String(crypto.getRandomValues(new Uint32Array(1))[0] % 1000000);

/** The command that draws the same in a terminal. */
export function command(told) {
  const words = ["unnoise sample", `runs/${told.run ?? told.model}`];
  for (const name of ["sampler", "steps", "grid", "guidance", "label"]) {
    const flag = name === "steps" && told.sampler === "tuned" ? "evaluations" : name;
    if (told[name] !== undefined && told[name] !== null) words.push(`--${flag} ${told[name]}`);
  }
  return [...words, `--seeds ${told.seed}`].join(" ");
}
