// The offline verifier of Aliquot's audit exports in JavaScript: a second implementation, for a browser page opened from disk and
// for node. No network, no libraries. It judges what `aliquot-verify` (Python) judges, and must agree with it on every test vector.
// Not judged here: the signatures of time stamps (RFC 3161); it says so.
"use strict";

const AliquotVerify = (() => {
  const FAULTS = {
    damaged: 10, bad_key: 11, bad_signature: 12, edited: 20, removed: 21, added: 22, moved: 23, tree: 24, truncated: 30, forked: 31,
    unwitnessed: 32, bad_timestamp: 33, manifest: 40, signature: 41, unsupported: 50, silent: 60, clock: 61,
  };
  const HASH = 32, WIDTH = 256, TILE = HASH * WIDTH, EVENT_MAX = 32768, SURPLUS_MAX = 100000, NAMED_MAX = 100;
  const TOLERANCE = 300, MISSED = 3, LOG = 1, COSIGNER = 4;
  const utf8 = new TextEncoder();

  class Unusable extends Error {
    constructor(fault, text, file = null) { super(text); this.finding = finding(fault, text, { file }); }
  }
  class NoteError extends Error {}
  class SignatureError extends NoteError {}

  function finding(fault, text, more = {}) { return { fault, seq: null, id: null, file: null, text, ...more }; }
  function strictText(bytes, what = "not UTF-8") {
    try { return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes); } catch { throw new NoteError(what); }
  }
  const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
  function joined(parts) {
    const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) { whole.set(part, at); at += part.length; }
    return whole;
  }
  function equal(a, b) { return a.length === b.length && a.every((value, i) => value === b[i]); }
  function decode64(text) { // the one encoding of its bytes
    if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4) throw new NoteError("not base64");
    const raw = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    if (encode64(raw) !== text) throw new NoteError("not base64");
    return raw;
  }
  const encode64 = (bytes) => btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join(""));

  // Canonical JSON (RFC 8785) with whole numbers and ASCII member names; anything else is refused: two readers could take it differently.
  function canonical(value, depth = 32) {
    if (depth === 0) throw new TypeError("nested too deeply");
    if (Array.isArray(value)) return `[${value.map((item) => canonical(item, depth - 1)).join(",")}]`;
    if (value !== null && typeof value === "object") {
      const names = Object.keys(value).sort();
      if (names.some((name) => /[^\u0000-\u007f]/.test(name))) throw new TypeError("a member's name is not ASCII");
      return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(value[name], depth - 1)}`).join(",")}}`;
    }
    if (typeof value === "string" && !value.isWellFormed()) throw new TypeError("a lone surrogate");
    if (typeof value === "number" && !Number.isSafeInteger(value)) throw new TypeError("no whole number");
    return JSON.stringify(value);
  }
  function parsed(bytes) {
    const value = JSON.parse(strictText(bytes));
    if (!equal(utf8.encode(canonical(value)), bytes)) throw new TypeError("not canonical");
    return value;
  }
  const list = (value) => { if (!Array.isArray(value)) throw new TypeError("not a list"); return value; };
  const shownId = (value) => (typeof value === "string" ? value.replace(/[^\x20-\x7e]/g, "").slice(0, 64) : null);

  // --- the archive: names, sizes and counts are bounded before anything is unpacked

  const LIMITS = {
    "checkpoint": 1e5, "keys.json": 4e6, "anchors.json": 2e7, "manifest.json": 3e8, "report.pdf": 1e8, "signatures.jsonl": 2 ** 40,
    "events.jsonl": 2 ** 44,
  };
  const TILE_NAME = /^tile\/[0-9]{1,2}\/(x[0-9]{3}\/){0,5}[0-9]{3}(\.p\/[0-9]{1,3})?$/;

  class Archive {
    constructor(bytes) {
      this.bytes = bytes;
      this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      this.files = new Map();
      try { this.index(); } catch (error) {
        if (error instanceof Unusable) throw error;
        throw new Unusable("damaged", "this is not a zip archive");
      }
    }

    index() {
      const { start, end, count } = this.directory();
      if (count > 2000000) throw new Unusable("damaged", "the archive holds too many files");
      let at = start;
      while (at < end) {
        if (this.view.getUint32(at, true) !== 0x02014b50) throw new Error("the directory is broken");
        const nameLength = this.view.getUint16(at + 28, true), extraLength = this.view.getUint16(at + 30, true);
        if (this.view.getUint32(at + 32, true) !== 0) throw new Error("a comment, or another disk");
        const entry = {
          name: this.bytes.subarray(at + 46, at + 46 + nameLength), flags: this.view.getUint16(at + 8, true),
          method: this.view.getUint16(at + 10, true), crc: this.view.getUint32(at + 16, true), packed: this.view.getUint32(at + 20, true),
          size: this.view.getUint32(at + 24, true), offset: this.view.getUint32(at + 42, true),
        };
        this.widen(entry, at + 46 + nameLength, extraLength);
        this.take(strictText(entry.name), entry);
        at += 46 + nameLength + extraLength;
      }
      if (at !== end || this.files.size !== count) throw new Error("the directory is broken");
      this.checkPlaces([...this.files.values()], start);
    }

    // Every file lies behind the one before, the first one at the beginning and all before the directory.
    checkPlaces(files, start) {
      let before = 0;
      for (const file of files.sort((a, b) => a.offset - b.offset)) {
        if (file.offset < before || (before === 0 && file.offset)) throw new Error("files overlap");
        before = this.dataOf(file) + file.packed;
      }
      if (before > start) throw new Error("files overlap");
    }

    // Where the list of files begins and ends, and how many it holds.
    directory() {
      const { view } = this, far = (place) => {
        const value = view.getBigUint64(place, true);
        if (value > BigInt(this.bytes.length)) throw new Error("beyond the end");
        return Number(value);
      };
      let at = this.bytes.length - 22;
      if (view.getUint32(at, true) !== 0x06054b50 || view.getUint16(at + 20, true)) throw new Error("no end, or something behind it");
      let disks = [view.getUint16(at + 4, true), view.getUint16(at + 6, true)];
      let here = view.getUint16(at + 8, true), count = view.getUint16(at + 10, true);
      let size = view.getUint32(at + 12, true), start = view.getUint32(at + 16, true);
      if (at >= 20 && view.getUint32(at - 20, true) === 0x07064b50) { // zip64
        const one = view.getUint32(at - 4, true);
        at = far(at - 12);
        if (view.getUint32(at, true) !== 0x06064b50 || far(at + 4) !== 44 || at + 98 !== this.bytes.length || one !== 1) throw new Error("no end");
        disks = [view.getUint32(at + 16, true), view.getUint32(at + 20, true)];
        [here, count, size, start] = [far(at + 24), far(at + 32), far(at + 40), far(at + 48)];
      }
      if (disks[0] || disks[1] || here !== count || start + size !== at) throw new Error("the directory is broken");
      return { start, end: at, count };
    }

    widen(entry, at, length) { // zip64
      const end = at + length;
      while (at < end) {
        if (at + 4 > end) throw new Error("a field is cut");
        const kind = this.view.getUint16(at, true), size = this.view.getUint16(at + 2, true), to = at + 4 + size;
        if (to > end) throw new Error("a field is cut");
        if (kind === 1) {
          let from = at + 4;
          for (const name of ["size", "packed", "offset"]) {
            if (entry[name] !== 0xffffffff) continue;
            if (from + 8 > to) throw new Error("a field is cut");
            entry[name] = Number(this.view.getBigUint64(from, true));
            from += 8;
          }
        }
        at = to;
      }
    }

    take(name, entry) {
      const limit = Object.hasOwn(LIMITS, name) ? LIMITS[name] : TILE_NAME.test(name) ? TILE : null;
      const shown = JSON.stringify(name.slice(0, 80));
      if (limit === null) throw new Unusable("damaged", `the archive holds a file that does not belong to a bundle: ${shown}`);
      if (this.files.has(name)) throw new Unusable("damaged", `the archive holds ${shown} twice`, name);
      if (entry.size > limit) throw new Unusable("damaged", `${shown} is larger than it can be`, name);
      if (entry.flags & ~0x080e || (entry.method !== 0 && entry.method !== 8)) {
        throw new Unusable("damaged", `${shown} is encrypted or compressed in an unknown way`, name);
      }
      this.files.set(name, entry);
    }

    has(name) { return this.files.has(name); }
    size(name) { return this.files.get(name)?.size ?? 0; }

    // The pieces of a file, never more than the archive declared.
    async *chunks(name) {
      const entry = this.files.get(name);
      if (entry === undefined) throw new Unusable("damaged", `${name} is missing from the bundle`, name);
      let left = entry.size, crc = -1;
      try {
        for await (const piece of this.unpacked(entry)) {
          left -= piece.length;
          if (left < 0) throw new Unusable("damaged", `${name} is longer than the archive declares`, name);
          crc = crc32(piece, crc);
          yield piece;
        }
      } catch (error) {
        if (error instanceof Unusable) throw error;
        throw new Unusable("damaged", `${name} cannot be read from the archive`, name);
      }
      if (left) throw new Unusable("damaged", `${name} is shorter than the archive declares`, name);
      if ((crc ^ -1) >>> 0 !== entry.crc) throw new Unusable("damaged", `${name} cannot be read from the archive (checksum)`, name);
    }

    // Where a file's data begins, unless its own header says otherwise than the directory.
    dataOf(entry) {
      const at = entry.offset, nameLength = this.view.getUint16(at + 26, true), named = at + 30;
      if (this.view.getUint32(at, true) !== 0x04034b50 || this.view.getUint16(at + 6, true) !== entry.flags
        || this.view.getUint16(at + 8, true) !== entry.method) throw new Error("another header");
      if (!equal(this.bytes.subarray(named, named + nameLength), entry.name)) throw new Error("another name");
      return named + nameLength + this.view.getUint16(at + 28, true);
    }

    async *unpacked(entry) {
      const start = this.dataOf(entry);
      const packed = this.bytes.subarray(start, start + entry.packed);
      if (packed.length !== entry.packed) throw new Error("cut");
      if (entry.method === 0) { if (packed.length) yield packed; return; }
      const reader = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        yield value;
      }
    }

    async read(name) {
      const parts = [];
      for await (const piece of this.chunks(name)) parts.push(piece.slice());
      return joined(parts);
    }
  }

  const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
    for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
    return n;
  });
  function crc32(bytes, crc) {
    for (const byte of bytes) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
    return crc;
  }

  // --- signed notes, keys, cosignatures (C2SP)

  async function parseKey(vkey, kind = LOG) {
    const match = /^([!-*,-~]{1,255})\+([0-9a-f]{8})\+([A-Za-z0-9+/=]{44})$/.exec(vkey.replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, ""));
    let name, id, encoded, raw;
    if (match) {
      [, name, id, encoded] = match;
      try { raw = decode64(encoded); } catch { throw new NoteError("the key is malformed"); }
    }
    if (!match || raw.length !== 33 || raw[0] !== kind) {
      throw new NoteError(`the key is not ${kind === LOG ? "an Ed25519 verifier key" : "a witness's cosigning key"} (<name>+<id>+<base64>)`);
    }
    const digest = await sha256(joined([utf8.encode(name + "\n"), raw]));
    if (hex(digest.subarray(0, 4)) !== id) throw new NoteError("the key does not match its own id: it was mistyped or altered");
    return { name, id: digest.slice(0, 4), public: raw.slice(1), vkey: `${name}+${id}+${encoded}` };
  }

  async function check(key, signature, message) {
    let holds = false;
    try {
      const imported = await crypto.subtle.importKey("raw", key.public, { name: "Ed25519" }, false, ["verify"]);
      holds = signature.length === 64 && (await crypto.subtle.verify({ name: "Ed25519" }, imported, signature, message));
    } catch (error) {
      if (error?.name === "NotSupportedError") throw new Unusable("unsupported", "this browser cannot check Ed25519 signatures: use a newer one");
    }
    if (!holds) throw new SignatureError("the signature does not hold");
  }

  function splitNote(bytes) {
    if (bytes.length > 100000) throw new NoteError("the signed note is too long");
    const whole = strictText(bytes, "the signed note is not UTF-8"), at = whole.lastIndexOf("\n\n");
    const signatures = whole.slice(at + 2);
    // eslint-disable-next-line no-control-regex
    if (at < 0 || !signatures.endsWith("\n") || /[\u0000-\u0009\u000b-\u001f]/.test(whole)) throw new NoteError("not a signed note");
    const lines = signatures.slice(0, -1).split("\n").map((line) => {
      const [dash, name, ...rest] = line.split(" ");
      let raw;
      try { raw = decode64(rest.join(" ")); } catch { throw new NoteError("a signature line is malformed"); }
      if (dash !== "—" || !name || raw.length < 5) throw new NoteError("a signature line is malformed");
      return [name, raw];
    });
    return [whole.slice(0, at) + "\n", lines];
  }

  async function openNote(bytes, key) {
    const [text, lines] = splitNote(bytes);
    for (const [name, raw] of lines) {
      if (name === key.name && equal(raw.subarray(0, 4), key.id)) {
        await check(key, raw.subarray(4), utf8.encode(text));
        return text;
      }
    }
    throw new SignatureError("not signed by this key");
  }

  function parseCheckpoint(text) {
    const lines = text.split("\n");
    if (lines.length < 4 || lines.at(-1) || lines.slice(0, -1).some((line) => !line)) throw new NoteError("not a checkpoint");
    let root;
    try { root = decode64(lines[2]); } catch { throw new NoteError("not a checkpoint"); }
    if (root.length !== 32 || !/^(0|[1-9][0-9]{0,14})$/.test(lines[1])) throw new NoteError("not a checkpoint");
    return { origin: lines[0], size: Number(lines[1]), root };
  }

  async function cosignedAt(bytes, key) {
    const [text, lines] = splitNote(bytes);
    for (const [name, raw] of lines) {
      if (name !== key.name || !equal(raw.subarray(0, 4), key.id)) continue;
      const at = raw.length === 76 ? new DataView(raw.buffer, raw.byteOffset).getBigUint64(4) : 0n;
      if (at === 0n || at > 2n ** 63n - 1n) throw new NoteError(`the cosignature of ${name} is malformed`);
      await check(key, raw.subarray(12), utf8.encode(`cosignature/v1\ntime ${at}\n${text}`));
      return Number(at);
    }
    return null;
  }

  // --- RFC 6962 hashing over strings of 32-byte hashes

  async function nodes(hashes) {
    const pairs = Math.floor(hashes.length / (2 * HASH)), made = [];
    for (let i = 0; i < pairs; i++) made.push(sha256(joined([[1], hashes.subarray(i * 64, i * 64 + 64)])));
    return joined([...(await Promise.all(made)), hashes.subarray(pairs * 64)]);
  }
  async function root(hashes) {
    if (!hashes.length) return sha256(new Uint8Array());
    while (hashes.length > HASH) hashes = await nodes(hashes);
    return hashes;
  }
  async function tileRoots(hashes) {
    const parts = [];
    for (let at = 0; at + TILE <= hashes.length; at += TILE) parts.push(await root(hashes.subarray(at, at + TILE)));
    return joined(parts);
  }
  const leaf = (line) => sha256(joined([[0], line]));
  const hashAt = (hashes, n) => hashes.subarray(n * HASH, (n + 1) * HASH);

  function tilePath(level, n, width) {
    let digits = String(n).padStart(3, "0");
    digits = digits.padStart(Math.ceil(digits.length / 3) * 3, "0");
    const groups = digits.match(/.{3}/g);
    return `tile/${level}/${[...groups.slice(0, -1).map((g) => "x" + g), groups.at(-1)].join("/")}${width === WIDTH ? "" : `.p/${width}`}`;
  }
  function tileSizes(size) {
    const found = new Map();
    for (let level = 0, count = size; count > 0; level++, count = Math.floor(count / WIDTH)) {
      for (let n = 0; n < Math.ceil(count / WIDTH); n++) {
        const width = Math.min(WIDTH, count - n * WIDTH);
        found.set(tilePath(level, n, width), width * HASH);
      }
    }
    return found;
  }

  // --- keys.json: the chain of keys

  const isCount = (value) => Number.isSafeInteger(value) && value >= 0 && value < 2 ** 50 && !Object.is(value, -0);
  function needText(value) {
    if (typeof value !== "string" || !value.isWellFormed()) throw new TypeError("not text");
    return value;
  }

  async function readChain(raw, pinned) {
    let vkeys, rotations;
    try {
      const value = parsed(raw);
      vkeys = value.vkeys;
      rotations = list(value.rotations === undefined ? [] : value.rotations).map((item) => {
        if (!isCount(item.seq)) throw new TypeError("seq");
        return { note: needText(item.note), seq: item.seq, event: needText(item.event) };
      });
      if (!Array.isArray(vkeys) || !vkeys.length || rotations.length !== vkeys.length - 1 || rotations.length > 100) throw new TypeError("keys");
      vkeys.forEach(needText);
    } catch (error) {
      if (error instanceof Unusable) throw error;
      throw new Unusable("damaged", "keys.json does not hold the log's key", "keys.json");
    }
    let keys;
    try { keys = await Promise.all(vkeys.map((vkey) => parseKey(vkey))); } catch (error) {
      throw new Unusable("bad_key", `keys.json: ${error.message}`, "keys.json");
    }
    const chain = { keys, rotations, current: keys.at(-1) };
    return [chain, await chainFaults(chain, pinned)];
  }

  async function chainFaults(chain, pinned) {
    const found = [], bad = (text, seq) => found.push(finding("bad_key", text, { seq, file: "keys.json" }));
    if (pinned && !chain.keys.some((key) => key.vkey === pinned.vkey)) {
      bad(`this bundle is signed by ${chain.current.vkey}, not by the pinned key, and no rotation leads there from it`, null);
    }
    let before = -1;
    for (const [i, { note, seq }] of chain.rotations.entries()) {
      const [older, newer] = [chain.keys[i], chain.keys[i + 1]];
      let text;
      try {
        text = await openNote(utf8.encode(note), older);
        await openNote(utf8.encode(note), newer);
      } catch (error) {
        if (!(error instanceof NoteError)) throw error;
        bad(`the rotation of the key at event ${seq} is forged: ${error.message}`, seq);
        continue;
      }
      const wanted = ["aliquot key rotation v1", older.name, older.vkey, newer.vkey];
      if (text.split("\n").slice(0, 4).join("\n") !== wanted.join("\n") || older.name !== newer.name || seq <= before) {
        bad(`the rotation of the key at event ${seq} is not one of these keys`, seq);
      }
      before = seq;
    }
    return found;
  }

  // The checkpoint in a note that one of the keys signed while it was in force.
  async function openByChain(chain, bytes) {
    for (const [i, key] of chain.keys.entries()) {
      let head;
      try { head = parseCheckpoint(await openNote(bytes, key)); } catch (error) {
        if (!(error instanceof SignatureError)) throw error;
        continue;
      }
      if (i < chain.rotations.length && head.size > chain.rotations[i].seq) throw new SignatureError("signed with a key that was retired");
      if (i && head.size <= chain.rotations[i - 1].seq) throw new SignatureError("signed with a key that was not in force yet");
      return head;
    }
    throw new SignatureError("not signed by a key of this log");
  }

  async function checkPlaces(chain, leaves) {
    const found = [];
    for (const { note, seq, event } of chain.rotations) {
      const at = note.lastIndexOf("\n\n"), statement = hex(await sha256(utf8.encode((at < 0 ? "" : note.slice(0, at)) + "\n")));
      let records = false;
      try { const value = parsed(utf8.encode(event)); records = value.action === "log_key.rotated" && value.versions.statement === statement; } catch { /* no */ }
      if (!records || !equal(hashAt(leaves, seq), await leaf(utf8.encode(event)))) {
        found.push(finding("bad_key", `the rotation of the key is not recorded as event ${seq}`, { seq, file: "keys.json" }));
      }
    }
    return found;
  }

  // --- manifest.json

  async function readManifest(raw, key) {
    let value;
    try {
      value = parsed(raw);
      if (value === null || typeof value !== "object" || Array.isArray(value)) throw new TypeError();
    } catch { throw new Unusable("damaged", "manifest.json is not a manifest in canonical JSON", "manifest.json"); }
    if (!("v" in value)) throw new Unusable("damaged", "manifest.json lacks what a manifest holds", "manifest.json");
    if (value.v !== 1) throw new Unusable("unsupported", "this bundle has a version that this verifier does not know", "manifest.json");
    let manifest, signature;
    try {
      const { first, count } = value.events;
      manifest = { origin: needText(value.origin), size: value.size, first, count, made_at: needText(value.made_at), files: value.files };
      if (![value.size, first, count].every(isCount)) throw new TypeError("counts");
      if (value.files === null || typeof value.files !== "object" || Array.isArray(value.files)) throw new TypeError("files");
      Object.values(value.files).forEach(needText);
      signature = decode64(needText(value.signature));
    } catch { throw new Unusable("damaged", "manifest.json lacks what a manifest holds", "manifest.json"); }
    if (manifest.first + manifest.count > manifest.size) {
      throw new Unusable("damaged", "manifest.json names events that its log cannot hold", "manifest.json");
    }
    delete value.signature;
    const digest = encode64(await sha256(utf8.encode(canonical(value))));
    try {
      if (!equal(signature.subarray(0, 4), key.id)) throw new NoteError("not signed by this key");
      await check(key, signature.subarray(4), utf8.encode(`aliquot manifest v1\n${manifest.origin}\n${digest}\n`));
    } catch (error) {
      if (!(error instanceof NoteError)) throw error;
      return [manifest, [finding("bad_signature", `the manifest was altered: ${error.message}`, { file: "manifest.json" })]];
    }
    return [manifest, []];
  }

  // --- the tree: do the tiles hash to the signed root, and if not, which of them is to blame?

  async function rootOf(leaves, above) {
    const tail = leaves.subarray((above.length / HASH) * TILE);
    return tail.length ? root(joined([above, await root(tail)])) : root(above);
  }
  const tileName = (level, index, count) => tilePath(level, Math.floor(index / WIDTH), Math.min(WIDTH, count - Math.floor(index / WIDTH) * WIDTH));

  async function judgeTree(levels, signedRoot, first, lines) {
    const leaves = levels[0] ?? new Uint8Array(), above = await tileRoots(leaves);
    if (equal(await rootOf(leaves, above), signedRoot)) return { leaves, findings: await upper(levels, above) };
    const repaired = await repair(levels, above, first, lines), again = await tileRoots(repaired);
    if (!equal(repaired, leaves) && equal(await rootOf(repaired, again), signedRoot)) {
      return { leaves: repaired, findings: [...alteredHashes(leaves, repaired), ...(await upper(levels, again))] };
    }
    return { leaves, findings: suspects(levels, above) };
  }

  async function repair(levels, above, first, lines) {
    if (!levels.length) return new Uint8Array();
    const leaves = levels[0].slice(), parents = levels[1] ?? new Uint8Array();
    for (let n = 0; n < Math.ceil(leaves.length / TILE); n++) {
      const node = hashAt(above, n), parent = hashAt(parents, n);
      if (node.length && equal(node, parent)) continue;
      const start = n * TILE, end = Math.min(start + TILE, leaves.length);
      const replacement = start >= first * HASH ? lines.subarray(start - first * HASH, end - first * HASH) : new Uint8Array();
      if (replacement.length === end - start && (!node.length || equal(await root(replacement), parent))) leaves.set(replacement, start);
    }
    return leaves;
  }

  function alteredHashes(given, right) {
    const found = [], count = given.length / HASH;
    for (let seq = 0; seq < count; seq++) {
      if (equal(hashAt(given, seq), hashAt(right, seq))) continue;
      const file = tileName(0, seq, count);
      found.push(finding("tree", `the tree's hash of event ${seq} was altered in ${file}; the event itself is intact`, { seq, file }));
    }
    return found;
  }

  async function upper(levels, above) {
    const found = [];
    for (let level = 1; level < levels.length; level++) {
      const count = levels[level].length / HASH;
      for (let n = 0; n < count; n++) {
        if (equal(hashAt(levels[level], n), hashAt(above, n))) continue;
        const file = tileName(level, n, count), seq = n * WIDTH ** level;
        found.push(finding("tree", `${file} was altered: its hash of events ${seq} to ${seq + WIDTH ** level - 1} is not theirs`, { seq, file }));
      }
      above = await tileRoots(above);
    }
    return found;
  }

  function suspects(levels, above) {
    const size = (levels[0]?.length ?? 0) / HASH, parents = levels[1] ?? new Uint8Array(), found = [];
    for (let n = 0; n < above.length / HASH; n++) {
      if (equal(hashAt(above, n), hashAt(parents, n))) continue;
      const file = tileName(0, n * WIDTH, size);
      found.push(finding("tree", `events ${n * WIDTH} to ${(n + 1) * WIDTH - 1} cannot be vouched for: ${file} was altered`, { seq: n * WIDTH, file }));
    }
    const whole = "the tree is not the one that was signed: events were altered, removed or added together with their hashes";
    return found.length ? found : [finding("tree", whole, { file: "checkpoint" })];
  }

  // --- what was done to the list of events

  function changes(expected, actual) { // arrays of hex hashes
    let head = 0, tail = 0;
    while (head < expected.length && head < actual.length && expected[head] === actual[head]) head++;
    while (tail < expected.length - head && tail < actual.length - head && expected.at(-1 - tail) === actual.at(-1 - tail)) tail++;
    const there = expected.slice(head, expected.length - tail), here = actual.slice(head, actual.length - tail);
    if (!there.length && !here.length) return [];
    const places = new Map(there.map((value, position) => [value, position]));
    const at = here.map((value) => { const place = places.get(value) ?? null; places.delete(value); return place; });
    const matched = new Set(at.filter((place) => place !== null));
    const kept = matched.size === here.length && here.length === there.length
      ? new Set(at.flatMap((place, line) => (line === place ? [line] : []))) : longestRising(at);
    const result = [];
    at.forEach((place, line) => { if (place !== null && !kept.has(line)) result.push(["moved", place, line]); });
    for (const [positions, lines] of gaps(at, kept, matched, there.length)) {
      const paired = Math.min(positions.length, lines.length);
      for (let i = 0; i < paired; i++) result.push(["edited", positions[i], lines[i]]);
      for (const position of positions.slice(paired)) result.push(["removed", position, null]);
      for (const line of lines.slice(paired)) result.push(["added", null, line]);
    }
    const key = (c) => c[1] ?? c[2] ?? 0;
    return result.map(([fault, p, l]) => [fault, p === null ? null : p + head, l === null ? null : l + head])
      .sort((a, b) => key(a) - key(b) || FAULTS[a[0]] - FAULTS[b[0]]);
  }

  function* gaps(at, kept, matched, end) {
    let last = -1, lines = [];
    for (let line = 0; line <= at.length; line++) {
      const position = line === at.length ? end : kept.has(line) ? at[line] : null;
      if (position !== null) {
        const free = [];
        for (let p = last + 1; p < position; p++) if (!matched.has(p)) free.push(p);
        yield [free, lines];
        last = position;
        lines = [];
      } else if (at[line] === null) lines.push(line);
    }
  }

  function longestRising(at) {
    const ends = [], lines = [], before = new Map();
    at.forEach((position, line) => {
      if (position === null) return;
      let low = 0, high = ends.length;
      while (low < high) { const middle = (low + high) >> 1; if (ends[middle] < position) low = middle + 1; else high = middle; }
      before.set(line, low ? lines[low - 1] : null);
      ends[low] = position;
      lines[low] = line;
    });
    const kept = new Set();
    for (let current = lines.at(-1) ?? null; current !== null; current = before.get(current)) kept.add(current);
    return kept;
  }

  // --- times: silences, clocks, heartbeats

  const latin = new TextDecoder("latin1");
  function seconds(text) {
    if (!/^(19[7-9]|2\d\d)\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(text)) return NaN;
    const at = Date.parse(text);
    return !Number.isNaN(at) && new Date(at).toISOString() === text ? at / 1000 : NaN;
  }
  class Times {
    at = []; beats = []; rotations = [];
    add(line) {
      const text = latin.decode(line), match = /"at":"([0-9T:.Z+-]{20,32})"/.exec(text);
      this.at.push(match ? seconds(match[1]) : NaN);
      if (text.startsWith('{"action":"log.heartbeat"')) {
        const every = Number(/"reason":"every:([0-9]{1,7})s"/.exec(text)?.[1] ?? 0);
        if (every > 0 && this.beats.at(-1)?.[1] !== every) this.beats.push([this.at.length - 1, every]);
      } else if (text.startsWith('{"action":"log_key.rotated"')) this.rotations.push(this.at.length - 1);
    }
  }
  const shown = (at) => new Date(at * 1000).toISOString().slice(0, 19).replace("T", " ") + "Z";
  const silence = (since, until, seq) =>
    finding("silent", `nothing was recorded for ${Math.round(until - since)} s, from ${shown(since)} to ${shown(until)} (event ${seq})`, { seq });

  function oddities(times, first, every, until) {
    const stated = every === null ? times.beats : [[-1, every]], found = [];
    let latest = NaN, before = NaN, back = false, beat = 0;
    times.at.forEach((at, line) => {
      while (beat < stated.length && stated[beat][0] < line) beat++;
      if (Number.isNaN(at)) return;
      let since = latest;
      if (at < latest - TOLERANCE) {
        const seq = first + line;
        if (!back) found.push(finding("clock", `the clock went back: event ${seq} says ${shown(at)}, an earlier one ${shown(latest)}`, { seq }));
        since = back ? before : at;
        back = true;
      } else back = false;
      if (beat && at - since > stated[beat - 1][1] * MISSED) found.push(silence(since, at, first + line));
      before = at;
      if (!(latest >= at)) latest = at;
    });
    if (until !== null && stated.length && until - latest > stated.at(-1)[1] * MISSED) {
      found.push(silence(latest, until, first + times.at.length - 1));
    }
    times.beats.forEach(([line, now], i) => {
      const old = times.beats[i - 1]?.[1], seq = first + line;
      if (i && now > old) found.push(finding("silent", `the log's heartbeat was slowed from ${old} s to ${now} s at event ${seq}`, { seq }));
    });
    return found;
  }

  function against(times, first, size, at, who) {
    for (const [line, claimed] of times.at.entries()) {
      const seq = first + line;
      if (seq < size && claimed > at + TOLERANCE) {
        return [finding("clock", `event ${seq} says ${shown(claimed)}, but ${who} saw it by ${shown(at)}: it is dated in the future`, { seq })];
      }
      if (seq >= size && claimed < at - TOLERANCE) {
        return [finding("clock", `event ${seq} says ${shown(claimed)}, but was not in the log that ${who} saw at ${shown(at)}: it is back-dated`, { seq })];
      }
    }
    return [];
  }

  // --- electronic signatures: each line is a statement whose SHA-256 an event of the log holds

  const objectOf = (bytes) => {
    try { const value = parsed(bytes); return value !== null && typeof value === "object" && !Array.isArray(value) ? value : null; } catch { return null; }
  };
  const isText = (value) => typeof value === "string";
  const claimedId = (event) => shownId(event.id);

  async function judgeSignatures(raw, bodies, first, report) {
    const events = new Map(), seen = new Set(), agreed = new Map(), found = [], told = { held: 0, revoked: 0 };
    bodies.forEach((body, line) => {
      if (!/^\{"action":"signature\.(created|revoked)"/.test(latin.decode(body.subarray(0, 40)))) return;
      const said = objectOf(body), statement = said?.versions?.statement;
      if (isText(statement) && !events.has(statement)) events.set(statement, { line, said });
    });
    const bad = (text, seq, id) => found.push(finding("signature", text, { seq, id, file: "signatures.jsonl" }));
    for (const [i, line] of splitLines(raw).entries()) {
      if (line.length > EVENT_MAX) throw new Unusable("damaged", "signatures.jsonl: a line is longer than a signature can be", "signatures.jsonl");
      const statement = hex(await sha256(line)), said = objectOf(line), event = events.get(statement);
      if (!event || !said) { bad(`line ${i + 1} is a signature that the log does not know`, null, null); continue; }
      const seq = first + event.line, id = claimedId(event.said);
      if (seen.has(statement)) { bad(`the signature of this event stands twice (line ${i + 1})`, seq, id); continue; }
      seen.add(statement);
      if (!signatureAgrees(said, event.said)) { bad(`the signature in line ${i + 1} and its event contradict each other`, seq, id); continue; }
      agreed.set(statement, said);
      if (said.type === "signature") { told.held++; continue; }
      told.revoked++;
      if (!events.has(said.statement)) continue;
      const of = agreed.get(said.statement);
      if (!of || of.id !== said.signature || of.signer.id !== said.signer.id) {
        bad("this revocation is not by the signer, or stands before its signature", seq, id);
      }
    }
    for (const [statement, event] of events) {
      if (!seen.has(statement)) bad("the signature of this event is missing", first + event.line, claimedId(event.said));
    }
    report.findings.push(...found.slice(0, NAMED_MAX));
    return told;
  }

  function splitLines(data) {
    const lines = [];
    let from = 0;
    for (let at = data.indexOf(10); at >= 0; at = data.indexOf(10, from)) { lines.push(data.slice(from, at)); from = at + 1; }
    if (from < data.length) lines.push(data.slice(from));
    return lines;
  }

  function signatureAgrees(said, event) {
    try {
      const { type, id, version } = said.record, signed = said.type === "signature";
      const own = signed ? [said.meaning, said.sha256] : [said.signature, said.statement];
      return (signed || said.type === "revocation") && event.action === (signed ? "signature.created" : "signature.revoked")
        && canonical({ type, id, version }) === canonical(event.record) && [said.id, said.signer.id, ...own].every(isText)
        && said.signer.id === event.actor && (!signed || said.meaning === event.reason);
    } catch { return false; }
  }

  // --- anchors

  async function continues(at, kept, who, file) {
    if (kept.origin !== at.head.origin) return finding("forked", `${who} belongs to another log`, { file });
    if (kept.size > at.head.size) {
      const text = `the log was truncated: ${who} covers ${kept.size} events, the bundle ${at.head.size}`;
      return finding("truncated", text, { seq: at.head.size, file: "checkpoint" });
    }
    if (!equal(await root(at.leaves.subarray(0, kept.size * HASH)), kept.root)) {
      return finding("forked", `the log was forked: its first ${kept.size} events are not those of ${who}`, { file: "checkpoint" });
    }
    return null;
  }

  function parseAnchors(raw) {
    if (raw === null) return { cosigned: [], timestamps: [] };
    let value;
    try {
      value = parsed(raw);
      if (value.v === undefined) throw new TypeError();
      if (value.v !== 1) throw new Unusable("unsupported", "anchors.json has a version that this verifier does not know", "anchors.json");
      const cosigned = list(value.cosigned).map(needText);
      const timestamps = list(value.timestamps).map((item) => ({ note: needText(item.note), token: decode64(needText(item.token)) }));
      if (cosigned.length + timestamps.length > 10000) throw new TypeError();
      return { cosigned, timestamps };
    } catch (error) {
      if (error instanceof Unusable) throw error;
      throw new Unusable("damaged", "anchors.json is malformed", "anchors.json");
    }
  }

  async function judgeAnchors(raw, at, witnesses) {
    const { cosigned, timestamps } = parseAnchors(raw), file = "anchors.json";
    const outside = { witnesses: {}, timestamps: { held: timestamps.length, checked: null, newest: null }, findings: [], notices: [] };
    for (const [i, note] of cosigned.entries()) await judgeCosigned(at, utf8.encode(note), `cosigned checkpoint ${i + 1}`, witnesses, outside);
    for (const key of witnesses) {
      if (!(key.name in outside.witnesses)) outside.findings.push(finding("unwitnessed", `the witness ${key.name} has not cosigned this log`, { file }));
    }
    for (const [i, { note, token }] of timestamps.entries()) {
      const bytes = utf8.encode(note), where = `time stamp ${i + 1}`;
      try {
        const wrong = await continues(at, await openByChain(at.chain, bytes), where, file);
        if (wrong) { outside.findings.push(wrong); continue; }
        if (!hex(token).includes(hex(await sha256(bytes)))) throw new NoteError("it is not one of its checkpoint");
      } catch (error) {
        if (!(error instanceof NoteError)) throw error;
        outside.findings.push(finding("bad_timestamp", `${where} does not hold: ${error.message}`, { file }));
      }
    }
    for (const [name, seen] of Object.entries(outside.witnesses)) {
      outside.notices.push(...against(at.times, at.first, seen.size, seen.at, `the witness ${name}`));
    }
    return outside;
  }

  async function judgeCosigned(at, bytes, where, witnesses, outside) {
    let kept;
    const bad = (text) => outside.findings.push(finding("bad_signature", text, { file: "anchors.json" }));
    try { kept = await openByChain(at.chain, bytes); } catch (error) {
      if (!(error instanceof NoteError)) throw error;
      bad(`${where} is not one of this log: ${error.message}`);
      return;
    }
    const wrong = await continues(at, kept, where, "anchors.json");
    if (wrong) { outside.findings.push(wrong); return; }
    for (const key of witnesses) {
      try {
        const time = await cosignedAt(bytes, key), seen = outside.witnesses[key.name];
        if (time !== null && (!seen || kept.size >= seen.size)) outside.witnesses[key.name] = { size: kept.size, at: time };
      } catch (error) {
        if (!(error instanceof NoteError)) throw error;
        bad(`${where}: ${error.message}`);
      }
    }
  }

  // --- the whole

  // `known`: vkey, anchor (bytes of a checkpoint), witnesses (list of keys), heartbeat (seconds), strict.
  async function verify(bytes, known = {}) {
    const report = {
      ok: false, exit_code: 0, key_pinned: Boolean(known.vkey), origin: "", vkey: "", size: 0, events: { first: 0, count: 0 },
      signatures: 0, revocations: 0, anchored_at: null, witnesses: {}, timestamps: { held: 0, checked: null, newest: null }, findings: [], notices: [], unnamed: 0,
    };
    try {
      const pinned = known.vkey ? await given(known.vkey, LOG, "--vkey") : null;
      const witnesses = [];
      for (const vkey of known.witnesses ?? []) witnesses.push(await given(vkey, COSIGNER, "--witness"));
      await judgeBundle(new Archive(bytes), known, pinned, witnesses, report);
    } catch (error) {
      if (!(error instanceof Unusable)) throw error;
      report.findings.push(error.finding);
    }
    const counted = [...report.findings, ...(known.strict ? report.notices : [])];
    report.exit_code = counted.length ? Math.min(...counted.map((f) => FAULTS[f.fault])) : 0;
    report.ok = report.exit_code === 0;
    return report;
  }

  async function given(vkey, kind, option) {
    try { return await parseKey(vkey, kind); } catch (error) { throw new Unusable("bad_key", `${option}: ${error.message}`); }
  }

  async function judgeBundle(bundle, known, pinned, witnesses, report) {
    const digests = new Map();
    const read = async (name) => { const data = await bundle.read(name); digests.set(name, hex(await sha256(data))); return data; };
    const [chain, chainWrong] = await readChain(await read("keys.json"), pinned);
    const [manifest, manifestWrong] = await readManifest(await bundle.read("manifest.json"), chain.current);
    report.findings.push(...chainWrong, ...manifestWrong);
    const head = await judgeCheckpoint(await read("checkpoint"), chain, report);
    Object.assign(report, { origin: head.origin, vkey: chain.current.vkey, size: head.size });
    if (manifest.origin !== head.origin || manifest.size !== head.size) {
      report.findings.push(finding("manifest", "the manifest describes another log than the checkpoint", { file: "manifest.json" }));
    }
    report.events = { first: manifest.first, count: manifest.count };
    const levels = await readTiles(bundle, head.size, read), times = new Times();
    const { lines, bodies } = await readEvents(bundle, manifest, digests, times);
    const tree = await judgeTree(levels, head.root, manifest.first, lines);
    report.findings.push(...tree.findings);
    compareEvents(tree.leaves, manifest, lines, bodies, report);
    report.findings.push(...(await checkPlaces(chain, tree.leaves)));
    const { held, revoked } = await judgeSignatures(await read("signatures.jsonl"), bodies, manifest.first, report);
    Object.assign(report, { signatures: held, revocations: revoked });
    await read("report.pdf");
    const at = { chain, head, leaves: tree.leaves, times, first: manifest.first };
    if (known.anchor) await judgeAnchor(known.anchor, at, report);
    const outside = await judgeAnchors(bundle.has("anchors.json") ? await read("anchors.json") : null, at, witnesses);
    Object.assign(report, { witnesses: outside.witnesses, timestamps: outside.timestamps });
    report.findings.push(...outside.findings);
    compareManifest(bundle, manifest, digests, report);
    judgeTimes(at, manifest, known, outside, report);
  }

  async function judgeCheckpoint(raw, chain, report) {
    let head;
    try {
      head = await openByChain(chain, raw);
      if (head.size && chain.rotations.length && head.size <= chain.rotations.at(-1).seq) throw new SignatureError("it is older than the newest key");
    } catch (error) {
      if (!(error instanceof NoteError)) throw error;
      try {
        if (!(error instanceof SignatureError)) throw error;
        report.findings.push(finding("bad_signature", `the checkpoint was altered: ${error.message}`, { file: "checkpoint" }));
        head = parseCheckpoint(splitNote(raw)[0]);
      } catch (damage) { throw new Unusable("damaged", `checkpoint: ${damage.message}`, "checkpoint"); }
    }
    if (head.origin !== chain.current.name) {
      report.findings.push(finding("bad_key", "the checkpoint belongs to another log than the key", { file: "checkpoint" }));
    }
    return head;
  }

  async function readTiles(bundle, size, read) {
    if (size > 256 * bundle.files.size) {
      throw new Unusable("damaged", `the checkpoint speaks of ${size} events, the bundle lacks most of their tiles`, "checkpoint");
    }
    const levels = [], wanted = tileSizes(size);
    for (const [name, length] of wanted) {
      const data = await read(name);
      if (data.length !== length) throw new Unusable("damaged", `${name} has ${data.length} bytes instead of ${length}`, name);
      (levels[Number(name.split("/")[1])] ??= []).push(data);
    }
    const foreign = [...bundle.files.keys()].filter((name) => name.startsWith("tile/") && !wanted.has(name)).sort()[0];
    if (foreign) throw new Unusable("damaged", `${foreign} does not belong to a log of ${size} events`, foreign);
    return levels.map(joined);
  }

  async function readEvents(bundle, manifest, digests, times) {
    const bodies = [], pieces = [], hashes = [];
    let rest = new Uint8Array(), pending = [];
    const take = (line) => {
      if (line.length > EVENT_MAX) throw new Unusable("damaged", `events.jsonl: line ${bodies.length + 1} is longer than an event can be`, "events.jsonl");
      bodies.push(line);
      pending.push(leaf(line));
      times.add(line);
      if (bodies.length > manifest.count + SURPLUS_MAX) {
        throw new Unusable("added", `events.jsonl holds far more than the ${manifest.count} events it should`, "events.jsonl");
      }
    };
    for await (const piece of bundle.chunks("events.jsonl")) {
      pieces.push(piece.slice());
      const data = joined([rest, piece]);
      let from = 0;
      for (let at = data.indexOf(10); at >= 0; at = data.indexOf(10, from)) { take(data.slice(from, at)); from = at + 1; }
      rest = data.slice(from);
      if (rest.length > EVENT_MAX) throw new Unusable("damaged", `events.jsonl: line ${bodies.length + 1} is longer than an event can be`, "events.jsonl");
      hashes.push(...(await Promise.all(pending)));
      pending = [];
    }
    if (rest.length) take(rest);
    hashes.push(...(await Promise.all(pending)));
    digests.set("events.jsonl", hex(await sha256(joined(pieces))));
    return { lines: joined(hashes), bodies };
  }

  function compareEvents(leaves, manifest, lines, bodies, report) {
    const hashes = (bytes) => Array.from({ length: bytes.length / HASH }, (_, i) => hex(hashAt(bytes, i)));
    const expected = leaves.subarray(manifest.first * HASH, (manifest.first + manifest.count) * HASH);
    const found = equal(expected, lines) ? [] : changes(hashes(expected), hashes(lines));
    report.unnamed = Math.max(0, found.length - NAMED_MAX);
    for (const [fault, position, line] of found.slice(0, NAMED_MAX)) {
      const seq = manifest.first + (position ?? line ?? 0), id = line === null ? null : idOf(bodies[line]);
      const known = id ? ` (${id})` : "", at = line === null ? "" : `line ${line + 1}`;
      const text = {
        edited: `event ${seq}${known} was edited (${at})`, removed: `event ${seq} was removed`,
        added: `an event${known} that is not in the log was added as ${at}`, moved: `event ${seq}${known} was moved to ${at}`,
      }[fault];
      report.findings.push(finding(fault, text, { seq, id, file: "events.jsonl" }));
    }
  }

  const idOf = (body) => /"id": ?"([0-9a-f]{8}-[0-9a-f-]{27})"/.exec(latin.decode(body))?.[1] ?? null;

  function compareManifest(bundle, manifest, digests, report) {
    const names = new Set([...bundle.files.keys(), ...Object.keys(manifest.files)]);
    names.delete("manifest.json");
    const listed = (name) => (Object.hasOwn(manifest.files, name) ? manifest.files[name] : undefined);
    if (listed("manifest.json") !== undefined) names.add("manifest.json");
    const wrong = [...names].filter((name) => listed(name) !== digests.get(name)).sort();
    for (const name of wrong.slice(0, NAMED_MAX)) {
      const file = name.slice(0, 100).replace(/[^\x20-\x7e]/g, "?");
      const text = !bundle.has(name) ? `${file} is in the manifest, but not in the bundle`
        : listed(name) === undefined ? `${file} is not in the manifest` : `${file} is not the file that the manifest names`;
      report.findings.push(finding("manifest", text, { file }));
    }
  }

  async function judgeAnchor(anchor, at, report) {
    let kept;
    try { kept = await openByChain(at.chain, anchor); } catch (error) {
      if (!(error instanceof NoteError)) throw error;
      report.findings.push(finding("bad_signature", `the anchor is not a checkpoint of this log: ${error.message}`, { file: "anchor" }));
      return;
    }
    report.anchored_at = kept.size;
    const wrong = await continues(at, kept, "the anchor", "anchor");
    if (wrong) report.findings.push(wrong);
  }

  function judgeTimes(at, manifest, known, outside, report) {
    const retired = new Set(at.chain.rotations.map((rotation) => rotation.seq));
    for (const line of at.times.rotations) {
      const seq = at.first + line;
      if (retired.has(seq)) continue;
      const text = `the log's key was rotated at event ${seq}, but this bundle is signed by a key from before`;
      report.findings.push(finding("bad_key", text, { seq, file: "keys.json" }));
    }
    const toEnd = manifest.count && manifest.first + manifest.count === at.head.size, until = seconds(manifest.made_at);
    const odd = [...oddities(at.times, at.first, known.heartbeat ?? null, toEnd ? until : null), ...outside.notices];
    report.notices = odd.slice(0, NAMED_MAX);
    report.unnamed += odd.length - report.notices.length;
  }

  return { verify, FAULTS };
})();

if (typeof module !== "undefined") module.exports = AliquotVerify;
