/** Bytes of three kinds of files: PNG's text, zip archives without compression, NumPy's arrays. */

const text = new TextDecoder();
const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c >>> 0;
});

/** CRC-32, as zip wants it. */
export function crc(bytes) {
  let c = 0xffffffff;
  for (const byte of bytes) c = TABLE[(c ^ byte) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

/** JSON whose long whole numbers stay strings: a seed has up to 20 digits, and a double holds 15. */
export function exact(words) {
  return JSON.parse(words.replace(/(:\s*|\[\s*|,\s*)(\d{16,})(?=\s*[,}\]])/g, '$1"$2"'));
}

/** How a picture was made, from its text chunk "unnoise"; null where it says nothing. */
export function settingsOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 24 || view.getUint32(0) !== 0x89504e47 || view.getUint32(4) !== 0x0d0a1a0a) return null;
  for (let at = 8; at + 12 <= bytes.length; ) {
    const size = view.getUint32(at);
    const kind = text.decode(bytes.subarray(at + 4, at + 8));
    const body = bytes.subarray(at + 8, at + 8 + size);
    if (kind === "tEXt") {
      const cut = body.indexOf(0);
      if (text.decode(body.subarray(0, cut)) === "unnoise") {
        try {
          return exact(text.decode(body.subarray(cut + 1)));
        } catch {
          return null;
        }
      }
    }
    if (kind === "IEND") return null;
    at += 12 + size;
  }
  return null;
}

/** The files of an archive that is not compressed: name → bytes. */
export function unzip(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = new Map();
  for (let at = 0; at + 30 <= bytes.length && view.getUint32(at, true) === 0x04034b50; ) {
    const [size, name, extra] = [view.getUint32(at + 18, true), view.getUint16(at + 26, true), view.getUint16(at + 28, true)];
    const begin = at + 30 + name + extra;
    found.set(text.decode(bytes.subarray(at + 30, at + 30 + name)), bytes.slice(begin, begin + size));
    at = begin + size;
  }
  return found;
}

/** An archive of [name, bytes], not compressed: pictures are already. */
export function zip(files) {
  const parts = [];
  const index = [];
  let offset = 0;
  for (const [name, bytes] of files) {
    const label = new TextEncoder().encode(name);
    const common = [20, 0x0800, 0, 0, 0x21, crc(bytes), bytes.length, bytes.length, label.length, 0];
    const local = record([[4, 0x04034b50], ...sized(common)], label);
    index.push(record([[4, 0x02014b50], [2, 20], ...sized(common), [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]], label));
    parts.push(local, bytes);
    offset += local.length + bytes.length;
  }
  const size = index.reduce((sum, part) => sum + part.length, 0);
  const count = index.length;
  const end = record([[4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, size], [4, offset], [2, 0]]);
  return new Blob([...parts, ...index, end], { type: "application/zip" });
}

const sized = (values) => values.map((value, i) => [[2, 2, 2, 2, 2, 4, 4, 4, 2, 2][i], value]);

function record(fields, label = new Uint8Array()) {
  const made = new Uint8Array(fields.reduce((sum, [size]) => sum + size, 0) + label.length);
  const view = new DataView(made.buffer);
  let at = 0;
  for (const [size, value] of fields) {
    if (size === 4) view.setUint32(at, value, true);
    else view.setUint16(at, value, true);
    at += size;
  }
  made.set(label, at);
  return made;
}

/** A NumPy array as {shape, values}. */
export function npy(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const long = bytes[6] > 1;
  const size = long ? view.getUint32(8, true) : view.getUint16(8, true);
  const begin = (long ? 12 : 10) + size;
  const head = text.decode(bytes.subarray(long ? 12 : 10, begin));
  const kind = /'descr': '([<|>=]?)(\w\d)'/.exec(head)[2];
  const shape = /'shape': \(([^)]*)\)/.exec(head)[1].split(",").filter((word) => word.trim()).map(Number);
  const type = { f4: Float32Array, f8: Float64Array, u1: Uint8Array, i8: BigInt64Array, i4: Int32Array, i2: Int16Array, u2: Uint16Array }[kind];
  const values = Array.from(new type(bytes.slice(begin).buffer), Number);
  return { shape, values };
}

/** base64 of bytes. */
export function base64(bytes) {
  let letters = "";
  for (let i = 0; i < bytes.length; i += 0x8000) letters += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(letters);
}

export const bytesOf = (letters) => Uint8Array.from(atob(letters), (letter) => letter.charCodeAt(0));
