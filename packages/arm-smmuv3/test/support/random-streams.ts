import {
  type CachePolicy,
  NO_PASID,
  REQUEST_EXECUTE,
  REQUEST_NO_WRITE,
  REQUEST_PRIVILEGED,
  REQUEST_WRITE,
} from "@iommu-lab/pci";
import * as fc from "fast-check";
import { expect } from "vitest";
import type { CachePolicies } from "../../src/hardware/cache-policy.ts";
import { encodeCd } from "../../src/layout/context-descriptor.ts";
import { eventName } from "../../src/layout/event-record.ts";
import { CR0, CR2 } from "../../src/layout/registers.ts";
import { encodeSte } from "../../src/layout/stream-table-entry.ts";
import { CONTEXTS, Machine, SID, STREAMS } from "./machine.ts";
import { Oracle, type OracleRequest } from "./oracle.ts";

/** Where tables and pages may be: 64 KiB pieces of RAM, and now and then where nothing is. */
const POOL = 0x48000000;
const PIECES = 64;

const oneOf = <T>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const flag = oneOf(0, 1);
const mostly = (usual: number, other: number): fc.Arbitrary<number> =>
  fc.oneof({ weight: 12, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: fc.constant(other) });
const table = fc.nat({ max: PIECES - 1 }).map((piece) => POOL + piece * 0x10000);

/** Start levels of stage 2 that fit, and some that do not. */
const stage2Start = oneOf(
  { s2Tg: 0, s2T0Sz: 16, s2Sl0: 2 },
  { s2Tg: 0, s2T0Sz: 25, s2Sl0: 1 },
  { s2Tg: 0, s2T0Sz: 22, s2Sl0: 1 },
  { s2Tg: 0, s2T0Sz: 32, s2Sl0: 0 },
  { s2Tg: 2, s2T0Sz: 16, s2Sl0: 2 },
  { s2Tg: 2, s2T0Sz: 25, s2Sl0: 1 },
  { s2Tg: 1, s2T0Sz: 16, s2Sl0: 2 },
  { s2Tg: 1, s2T0Sz: 20, s2Sl0: 1 },
  { s2Tg: 0, s2T0Sz: 16, s2Sl0: 1 },
  { s2Tg: 3, s2T0Sz: 16, s2Sl0: 2 },
);

const steFields = fc.record({
  v: mostly(1, 0),
  config: oneOf(0, 4, 5, 5, 5, 5, 5, 6, 6, 7, 7, 7, 7, 7),
  s1CdMax: oneOf(0, 2),
  s1Dss: oneOf(0, 1, 2, 3),
  s1ContextPtr: fc.constant(CONTEXTS),
  eats: oneOf(0, 1, 1, 1, 2, 3),
  s2Vmid: oneOf(0, 7),
  s2Ps: mostly(5, 0),
  s2Aa64: mostly(1, 0),
  s2Affd: flag,
  s2Ptw: flag,
  s2R: flag,
  s2Ttb: table,
});
const ste = fc.tuple(steFields, stage2Start).map(([fields, start]) => Object.assign({}, fields, start));

const cd = fc.record({
  v: mostly(1, 0),
  aa64: mostly(1, 0),
  a: mostly(1, 0),
  t0Sz: oneOf(16, 17, 25, 33, 39),
  tg0: oneOf(0, 0, 1, 2, 3),
  t1Sz: oneOf(16, 25, 34),
  tg1: oneOf(1, 2, 3),
  epd0: mostly(0, 1),
  epd1: flag,
  ips: mostly(5, 0),
  r: flag,
  affd: flag,
  wxn: mostly(0, 1),
  pan: mostly(0, 1),
  tbi0: flag,
  tbi1: flag,
  had0: flag,
  ttb0: table,
  ttb1: table,
});

const page = fc.oneof(
  fc.bigInt({ min: 0n, max: 0x3fffn }),
  fc.bigInt({ min: 0n, max: (1n << 36n) - 1n }),
  fc.bigInt({ min: 0n, max: 0xffn }).map((offset) => (1n << 52n) - 1n - offset),
  fc.bigInt({ min: 0n, max: (1n << 52n) - 1n }),
);
const request: fc.Arbitrary<OracleRequest> = fc.record({
  kind: oneOf("read", "write", "translation-request", "translated-read", "translated-write"),
  pasid: oneOf(-1, -1, 0, 1, 3, 4),
  page,
  noWrite: fc.boolean(),
  execute: fc.boolean(),
  privileged: fc.boolean(),
});

/** A plausible descriptor: mostly a table or page in the pool, sometimes anything else. */
function descriptor(random: () => number): bigint {
  const chance = (one: number): boolean => random() % one === 0;
  const type = chance(24) ? 0n : chance(5) ? 1n : 3n;
  const piece = BigInt(POOL) + BigInt(random() % PIECES) * 0x10000n;
  const address = chance(40) ? 0x10000000n : chance(40) ? 1n << 40n : piece;
  // AF and nG mostly and always set; AP or S2AP, SH, memory type.
  const low = (chance(10) ? 0n : 0x400n) | 0x800n | (BigInt(random() % 4 === 0 ? random() % 4 : 3) * 0x40n) | 0x3cn;
  const limits = BigInt(chance(8) ? random() % 16 : 0) << 59n;
  const never = BigInt(chance(4) ? random() % 4 : 0) << 53n;
  return type | address | low | limits | never;
}

function generator(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state >>> 4;
  };
}

/** How long things are kept, in the tests. */
export const modes: readonly (CachePolicy | CachePolicies)[] = [
  "none",
  "keep-all",
  { lru: 2 },
  { random: 5 },
  { translations: "none" },
  { config: "none", walks: { random: 9 } },
];

function flagsOf(one: OracleRequest): number {
  const at = one.kind === "translation-request" ? 1 : one.kind.startsWith("translated") ? 2 : 0;
  return (
    at |
    (one.kind.endsWith("write") ? REQUEST_WRITE : 0) |
    (one.noWrite ? REQUEST_NO_WRITE : 0) |
    (one.execute ? REQUEST_EXECUTE : 0) |
    (one.privileged ? REQUEST_PRIVILEGED : 0)
  );
}

function numberedWords(address: number, machine: Machine): bigint[] {
  return Array.from({ length: 8 }, (_, index) => machine.readQword(address + index * 8));
}

function labelOf([w0 = "0", w1 = "0"]: readonly string[]): string {
  const name = eventName(Number(BigInt(w0) & 0xffn));
  return ((BigInt(w1) >> 39n) & 1n) === 1n ? `${name} of stage 2` : name;
}

/**
 * Random tables, and requests asked twice: what the oracle says is what the SMMU does, with one answer and at most one
 * record each.
 *
 * @returns the outcomes met, as `kind config status event`
 */
export function comparedWithOracle(
  caches: CachePolicy | CachePolicies,
  runs: number,
  seed?: number,
): Map<string, number> {
  const seen = new Map<string, number>();
  fc.assert(
    fc.property(
      ste,
      fc.array(cd, { minLength: 4, maxLength: 4 }),
      fc.array(request, { minLength: 4, maxLength: 12 }),
      fc.integer({ min: 1 }),
      fc.boolean(),
      fc.boolean(),
      (stream, cds, requests, descriptors, atschk, recCfgAts) => {
        const machine = new Machine({ caches });
        machine.enable(CR0.smmuen | (atschk ? CR0.atschk : 0), CR2.recInvSid | (recCfgAts ? CR2.recCfgAts : 0));
        machine.ste(encodeSte(stream));
        for (const [ssid, fields] of cds.entries()) {
          machine.store(CONTEXTS + ssid * 64, encodeCd({ ...fields, asid: ssid + 1 }));
        }
        const random = generator(descriptors);
        const written = new Set<bigint>();
        // Tables come into being where the oracle looks; a read of the model elsewhere finds zero.
        const load = (address: bigint): bigint | undefined => {
          const at = Number(address);
          if (!machine.memory.exists(at)) {
            return undefined;
          }
          const ofPool = at >= POOL && at < POOL + (PIECES + 16) * 0x10000;
          if (ofPool && !written.has(address)) {
            written.add(address);
            machine.qword(at, descriptor(random));
          }
          return machine.readQword(at);
        };
        const oracle = new Oracle({ load, ste: numberedWords(STREAMS + SID * 64, machine), atschk, recCfgAts });
        for (const one of [...requests, ...requests]) {
          const expected = oracle.judge(one);
          const pasid = one.pasid < 0 ? NO_PASID : one.pasid;
          const result = machine.smmu.translate(SID, pasid, Number(one.page), 0, flagsOf(one));
          const events = machine.takeEvents().map(labelOf);
          const letters = [result.read ? "r" : "", result.write ? "w" : "", result.execute ? "x" : ""].join("");
          expect({
            status: result.status,
            page: result.status === "success" && letters !== "" ? BigInt(result.page) : 0n,
            permissions: letters,
            event: events.length === 0 ? "-" : events.join(" "),
          }).toEqual(expected);
          expect(result.recorded).toBe(expected.event !== "-");
          const key = `${one.kind} ${stream.config} ${expected.status} ${expected.event}`;
          seen.set(key, (seen.get(key) ?? 0) + 1);
        }
      },
    ),
    { numRuns: runs, ...(seed === undefined ? {} : { seed }) },
  );
  return seen;
}
