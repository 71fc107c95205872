/**
 * What a request meets, computed from the bytes alone, slowly and with bigints: a second reading of the specification
 * beside the hardware's own walk.
 */
export interface OracleTables {
  /** 64 bits at an address. */
  readonly load: (address: bigint) => bigint;
  readonly type: "legacy" | "first" | "second" | "nested";
  readonly firstRoot: bigint;
  readonly secondRoot: bigint;
}

/** A request of a user, without PASID rights of its own. */
export interface OracleRequest {
  readonly page: bigint;
  readonly kind: "read" | "write" | "translation";
}

/** Fault code and nothing, or where it goes and what it may. */
export interface OracleAnswer {
  readonly fault: number;
  readonly page: bigint;
  readonly read: boolean;
  readonly write: boolean;
}

const WIDTH = 48n;
const HOST = 46n;
const ADDRESS = 0x000ffffffffff000n;

class Fault extends Error {
  readonly code: number;

  constructor(code: number) {
    super(String(code));
    this.code = code;
  }
}

function bit(entry: bigint, index: bigint): boolean {
  return ((entry >> index) & 1n) === 1n;
}

interface Reached {
  readonly page: bigint;
  readonly read: boolean;
  readonly write: boolean;
}

function second(
  tables: OracleTables,
  page: bigint,
  kind: OracleRequest["kind"],
  legacy: boolean,
  readCode: number,
): Reached {
  if (page >> (WIDTH - 12n) !== 0n) {
    throw new Fault(legacy ? 0x04 : 0x84);
  }
  let table = tables.secondRoot;
  let read = true;
  let write = true;
  for (let level = 4n; ; level -= 1n) {
    const entry = tables.load(table + ((page >> (9n * (level - 1n))) & 511n) * 8n);
    const own = { read: bit(entry, 0n), write: bit(entry, 1n) };
    if (!own.read && !own.write) {
      throw new Fault(legacy ? (kind === "write" ? 0x05 : 0x06) : 0x79);
    }
    if (kind === "write" && !own.write) {
      throw new Fault(legacy ? 0x05 : 0x85);
    }
    if (kind === "read" && !own.read) {
      throw new Fault(legacy ? 0x06 : readCode);
    }
    const leaf = level === 1n || bit(entry, 7n);
    const size = 9n * (level - 1n);
    const low = leaf && level > 1n ? ((1n << (size + 12n)) - 1n) & ADDRESS : 0n;
    const bad =
      bit(entry, 62n) ||
      (entry & ADDRESS) >> HOST !== 0n ||
      bit(entry, 11n) ||
      (leaf && level > 3n) ||
      (entry & low) !== 0n;
    if (bad) {
      throw new Fault(legacy ? 0x0c : 0x7a);
    }
    read &&= own.read;
    write &&= own.write;
    if (leaf) {
      return { page: ((entry & ADDRESS) >> 12n) + (page & ((1n << size) - 1n)), read, write };
    }
    table = entry & ADDRESS;
  }
}

function first(tables: OracleTables, page: bigint, kind: OracleRequest["kind"]): Reached {
  const top = page >> (WIDTH - 13n);
  if (top !== 0n && top !== (1n << 17n) - 1n) {
    throw new Fault(0x80);
  }
  const nested = tables.type === "nested";
  let table = tables.firstRoot;
  let write = true;
  for (let level = 4n; ; level -= 1n) {
    const host = nested ? hostOf(tables, table >> 12n, "read", level === 4n ? 0x75 : 0x76).page << 12n : table;
    const entry = tables.load(host + ((page >> (9n * (level - 1n))) & 511n) * 8n);
    if (!bit(entry, 0n)) {
      throw new Fault(0x71);
    }
    const leaf = level === 1n || bit(entry, 7n);
    const size = 9n * (level - 1n);
    const low = leaf && level > 1n ? ((1n << (size + 12n)) - 1n) & ADDRESS & ~0x1000n : 0n;
    if ((!nested && (entry & ADDRESS) >> HOST !== 0n) || (leaf && level > 3n) || (entry & low) !== 0n) {
      throw new Fault(0x72);
    }
    if (!bit(entry, 2n)) {
      throw new Fault(0x81);
    }
    if (kind === "write" && !bit(entry, 1n)) {
      throw new Fault(0x85);
    }
    write &&= bit(entry, 1n);
    if (leaf) {
      const base = (entry & ADDRESS & ~(level > 1n ? 0x1000n : 0n)) >> 12n;
      const target = base + (page & ((1n << size) - 1n));
      if (!nested) {
        return { page: target, read: true, write };
      }
      const end = hostOf(tables, target, kind, 0x86);
      return { page: end.page, read: end.read, write: end.write && write };
    }
    table = entry & ADDRESS;
  }
}

function hostOf(tables: OracleTables, page: bigint, kind: OracleRequest["kind"], readCode: number): Reached {
  if (page >> (WIDTH - 12n) !== 0n) {
    throw new Fault(0x74);
  }
  return second(tables, page, kind, false, readCode);
}

/** The one answer that the tables allow. */
export function oracle(tables: OracleTables, { page, kind }: OracleRequest): OracleAnswer {
  try {
    const legacy = tables.type === "legacy";
    const reached =
      legacy || tables.type === "second" ? second(tables, page, kind, legacy, 0x86) : first(tables, page, kind);
    if (reached.page >= 0xfee00n && reached.page <= 0xfeeffn) {
      throw new Fault(legacy ? 0x0e : 0x87);
    }
    return { fault: 0, ...reached };
  } catch (error) {
    if (error instanceof Fault) {
      return { fault: error.code, page: 0n, read: false, write: false };
    }
    throw error;
  }
}
