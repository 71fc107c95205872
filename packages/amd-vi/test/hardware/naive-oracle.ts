/**
 * A second reading of the specification in big integers and plain recursion, written against the tables of the fact sheet
 * alone: nothing is cached, every step is spelled out. Slow, and independent of the model's walks.
 */

/** A request. */
export interface OracleRequest {
  readonly kind: "read" | "write" | "ask" | "translated";
  readonly address: bigint;
  readonly pasid?: number;
}

/** What has to happen. */
export type OracleAnswer =
  | { readonly fate: "abort" }
  | { readonly fate: "pass"; readonly address: bigint }
  | { readonly fate: "answer"; readonly address: bigint; readonly read: boolean; readonly write: boolean };

/** Memory does not answer: whatever the request was, it is aborted. */
export class MemoryError extends Error {}

type Load = (address: bigint) => bigint;

interface Found {
  readonly address: bigint;
  readonly read: boolean;
  readonly write: boolean;
}

const bit = (word: bigint, index: number): boolean => ((word >> BigInt(index)) & 1n) === 1n;
const bits = (word: bigint, high: number, low: number): bigint =>
  (word >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n);
const pageOf = (word: bigint): bigint => bits(word, 51, 12) << 12n;

/** Host table: §4 of the sheet. undefined = no translation. */
function host(load: Load, table: bigint, level: number, address: bigint, rights: Found): Found | undefined {
  const shift = BigInt(12 + 9 * (level - 1));
  const entry = load(table + ((address >> shift) & 0x1ffn) * 8n);
  if (!bit(entry, 0)) {
    return undefined;
  }
  const next = Number(bits(entry, 11, 9));
  const read = rights.read && bit(entry, 61);
  const write = rights.write && bit(entry, 62);
  if (next === 0 || next === 7) {
    if (bits(entry, 58, 52) !== 0n) {
      return undefined;
    }
    let size = shift;
    if (next === 7) {
      let ones = 0n;
      while (ones < 40n && bit(entry, 12 + Number(ones))) {
        ones += 1n;
      }
      size = 13n + ones;
      if (size <= shift || (level < 6 && size >= shift + 9n)) {
        return undefined;
      }
    } else if (level === 6) {
      return undefined;
    }
    const mask = (1n << size) - 1n;
    return { address: (pageOf(entry) & ~mask) | (address & mask), read, write };
  }
  if (bits(entry, 60, 52) !== 0n || level === 1 || next >= level) {
    return undefined;
  }
  for (let skipped = next + 1; skipped < level; skipped += 1) {
    if (((address >> BigInt(12 + 9 * (skipped - 1))) & 0x1ffn) !== 0n) {
      return undefined;
    }
  }
  return host(load, pageOf(entry), next, address, { ...rights, read, write });
}

function hostFrom(load: Load, q0: bigint, address: bigint): Found | undefined {
  const mode = Number(bits(q0, 11, 9));
  const all = { address, read: bit(q0, 61), write: bit(q0, 62) };
  if (mode === 0) {
    return all;
  }
  if (mode < 6 && address >> BigInt(12 + 9 * mode) !== 0n) {
    return undefined;
  }
  return host(load, pageOf(q0), mode, address, all);
}

/** Guest tables: §5 of the sheet. User requests. */
function guest(load: Load, q: readonly bigint[], pasid: number, address: bigint, dirties: boolean): Found | undefined {
  const [q0 = 0n, q1 = 0n, q2 = 0n] = q;
  /** A word at a guest physical address, when the host lets it be read. */
  const through = (at: bigint): bigint | undefined => {
    if (bits(q0, 11, 9) === 0n) {
      return load(at);
    }
    const place = hostFrom(load, q0, at);
    return place === undefined || !place.read ? undefined : load(place.address);
  };
  const glx = Number(bits(q0, 57, 56));
  if (pasid >= 2 ** Math.min(9 * (glx + 1), 20)) {
    return undefined;
  }
  let table = (bits(q0, 60, 58) << 12n) | (bits(q1, 31, 16) << 15n) | (bits(q1, 63, 43) << 31n);
  for (let level = glx; level >= 0; level -= 1) {
    const at = table + ((BigInt(pasid) >> BigInt(9 * level)) & 0x1ffn) * 8n;
    // The first table stands at a system address.
    const entry = level === glx ? load(at) : through(at);
    if (entry === undefined || !bit(entry, 0)) {
      return undefined;
    }
    table = pageOf(entry);
  }
  const levels = bits(q2, 55, 54) === 0n ? 4 : 5;
  const top = BigInt(12 + 9 * levels);
  const upper = address >> (top - 1n);
  const signed = upper === 0n || (pasid !== 0 && upper === (1n << (65n - top)) - 1n);
  const unsigned = pasid === 0 && address >> top === 0n;
  if (!signed && !unsigned) {
    return undefined;
  }
  let [read, write] = [bit(q0, 61), bit(q0, 62)];
  /** Whether an entry can get A or D, which the host must allow. */
  const marks = (at: bigint): boolean => bits(q0, 11, 9) === 0n || hostFrom(load, q0, at)?.write === true;
  for (let level = levels; level >= 1; level -= 1) {
    const shift = BigInt(12 + 9 * (level - 1));
    const at = table + ((address >> shift) & 0x1ffn) * 8n;
    const entry = through(at);
    if (entry === undefined || !bit(entry, 0)) {
      return undefined;
    }
    read &&= bit(entry, 2);
    write &&= bit(entry, 2) && bit(entry, 1);
    const large = level > 1 && bit(entry, 7);
    if (level === 1 || large) {
      const mask = (1n << shift) - 1n;
      if (level > 3 || (large && (pageOf(entry) & mask & ~0x1fffn) !== 0n)) {
        return undefined;
      }
      if ((!bit(entry, 5) || (dirties && write && !bit(entry, 6))) && !marks(at)) {
        return undefined;
      }
      const place = hostFrom(load, q0, (pageOf(entry) & ~mask) | (address & mask));
      return place === undefined
        ? undefined
        : { address: place.address, read: read && place.read, write: write && place.write };
    }
    if (!bit(entry, 5) && !marks(at)) {
      return undefined;
    }
    table = pageOf(entry);
  }
  return undefined;
}

function judge(load: Load, q: readonly bigint[], request: OracleRequest): OracleAnswer {
  const [q0 = 0n, q1 = 0n] = q;
  const { kind, address, pasid } = request;
  const [valid, translation, iotlb, gv, giov] = [bit(q0, 0), bit(q0, 1), bit(q1, 32), bit(q0, 55), bit(q0, 54)];
  if (kind === "translated") {
    return valid && iotlb ? { fate: "pass", address } : { fate: "abort" };
  }
  if (kind === "ask" && (!valid || !iotlb || !translation)) {
    return { fate: "abort" };
  }
  if (!valid) {
    return { fate: "pass", address };
  }
  if (!translation || (pasid !== undefined && !gv)) {
    return { fate: "abort" };
  }
  const byGuest = gv && (pasid !== undefined || giov);
  const found = byGuest ? guest(load, q, pasid ?? 0, address, kind !== "read") : hostFrom(load, q0, address);
  if (kind === "ask") {
    return found === undefined ? { fate: "answer", address, read: false, write: false } : { fate: "answer", ...found };
  }
  const allowed = found !== undefined && (kind === "read" ? found.read : found.write);
  return allowed ? { fate: "pass", address: found.address } : { fate: "abort" };
}

/** Judges a request by its DTE: §6 of the sheet, for legal entries and addresses that are memory. */
export function oracle(load: Load, q: readonly bigint[], request: OracleRequest): OracleAnswer {
  try {
    return judge(load, q, request);
  } catch (error) {
    if (error instanceof MemoryError) {
      return { fate: "abort" };
    }
    throw error;
  }
}
