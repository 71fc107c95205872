import { Atc, type Choices, NO_PASID, TranslationResult } from "@iommu-lab/pci";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

interface Line {
  readonly first: number;
  readonly pages: number;
  readonly host: number;
  readonly pasid: number;
  readonly privileged: boolean;
  readonly global: boolean;
  readonly read: boolean;
  readonly write: boolean;
  readonly execute: boolean;
}

/** The rules of an ATC as one reads them, over a list. Source: PCIe 6.0 §10.3. */
class Oracle {
  lines: Line[] = [];
  readonly #capacity: number;
  readonly #withoutPasid: Choices["withoutPasid"];

  constructor(capacity: number, withoutPasid: Choices["withoutPasid"]) {
    this.#capacity = capacity;
    this.#withoutPasid = withoutPasid;
  }

  take(line: Line): void {
    if (!line.read && !line.write) {
      return;
    }
    const at = this.lines.findIndex((one) => sameKey(one, line));
    if (at >= 0) {
      this.lines[at] = line;
      return;
    }
    while (this.lines.length >= this.#capacity) {
      this.lines.shift();
    }
    this.lines.push(line);
  }

  invalidate(first: number, pages: number, pasid: number, global: boolean): void {
    this.lines = this.lines.filter((line) => {
      const touched = line.first < first + pages && first < line.first + line.pages;
      if (pasid === NO_PASID) {
        return !(touched || (line.pasid !== NO_PASID && this.#withoutPasid === "everything"));
      }
      return !(touched && line.pasid !== NO_PASID && (global || (line.pasid === pasid && !line.global)));
    });
  }

  find(page: number, pasid: number, privileged: boolean): Line | undefined {
    const [best] = this.lines
      .filter((line) => line.first <= page && page < line.first + line.pages && line.privileged === privileged)
      .filter((line) => line.pasid === pasid || (pasid !== NO_PASID && line.pasid !== NO_PASID && line.global))
      .toSorted((a, b) => a.pages - b.pages || Number(a.global) - Number(b.global));
    return best;
  }
}

function sameKey(a: Line, b: Line): boolean {
  const samePasid = a.global === b.global && (a.global || a.pasid === b.pasid);
  return a.first === b.first && a.pages === b.pages && samePasid && a.privileged === b.privileged;
}

const pasid = fc.constantFrom(NO_PASID, 0, 1, 2);
const page = fc.integer({ min: 0, max: 0x7f });
const fill = fc.record({
  kind: fc.constant("fill" as const),
  page,
  sizeLog2: fc.constantFrom(12, 13, 14, 16, 21),
  pasid,
  bits: fc.nat({ max: 31 }),
});
const invalidate = fc.record({
  kind: fc.constant("invalidate" as const),
  page,
  sizeLog2: fc.constantFrom(12, 13, 15, 18, 52, 64),
  pasid,
  bits: fc.nat({ max: 1 }),
});
const clear = fc.record({
  kind: fc.constant("clear" as const),
  page,
  sizeLog2: fc.constant(12),
  pasid,
  bits: fc.constant(0),
});
const steps = fc.array(fc.oneof({ weight: 6, arbitrary: fill }, { weight: 3, arbitrary: invalidate }, clear), {
  maxLength: 50,
});
type Step = typeof steps extends fc.Arbitrary<(infer T)[]> ? T : never;

function apply(
  atc: Atc,
  oracle: Oracle,
  step: Step,
  index: number,
  capacity: number,
  reading: Choices["withoutPasid"],
) {
  const pages = 2 ** (step.sizeLog2 - 12);
  const first = step.page - (step.page % pages);
  const { bits } = step;
  if (step.kind === "clear") {
    atc.clear();
    oracle.lines = [];
  } else if (step.kind === "invalidate") {
    atc.invalidate(first, step.sizeLog2, step.pasid, bits === 1, reading);
    oracle.invalidate(first, pages, step.pasid, bits === 1);
  } else {
    const hasPasid = step.pasid !== NO_PASID;
    const from = new TranslationResult().reset(step.page);
    from.sizeLog2 = step.sizeLog2;
    from.host = (index + 1) * 0x100000 + (step.page - first);
    from.read = (bits & 1) !== 0;
    from.write = (bits & 2) !== 0;
    from.execute = hasPasid && from.read && (bits & 4) !== 0;
    from.privileged = hasPasid && (bits & 8) !== 0;
    from.global = hasPasid && (bits & 16) !== 0;
    atc.insert(from, step.pasid, 0, capacity);
    const { read, write, execute, privileged, global } = from;
    const host = (index + 1) * 0x100000;
    oracle.take({ first, pages, host, pasid: step.pasid, privileged, global, read, write, execute });
  }
}

/** Entries and answers, as the ATC gives them and as the list does. */
function told(atc: Atc, oracle: Oracle): { readonly seen: unknown[]; readonly expected: unknown[] } {
  const seen: unknown[] = atc.entries().map(({ page: at, host, pasid: of }) => [at, host, of]);
  const expected: unknown[] = oracle.lines.map((line) => [line.first, line.host, line.pasid]);
  for (const of of [NO_PASID, 0, 1, 3]) {
    for (const privileged of [false, true]) {
      for (let at = 0; at < 0x80; at += 3) {
        const line = oracle.find(at, of, privileged);
        const hit = atc.lookup(at, of, privileged);
        seen.push(hit && [hit.host, hit.read, hit.write, hit.execute, hit.global, 2 ** (hit.sizeLog2 - 12)]);
        expected.push(
          line && [line.host + (at - line.first), line.read, line.write, line.execute, line.global, line.pages],
        );
      }
    }
  }
  return { seen, expected };
}

describe("any sequence of fills, invalidations and clears", () => {
  test("leaves what a plain list leaves, for any capacity and either reading", () => {
    const capacities = fc.constantFrom(1, 2, 5, Infinity);
    const readings = fc.constantFrom<Choices["withoutPasid"]>("everything", "range");
    fc.assert(
      fc.property(steps, capacities, readings, (sequence, capacity, reading) => {
        const atc = new Atc();
        const oracle = new Oracle(capacity, reading);
        for (const [index, step] of sequence.entries()) {
          apply(atc, oracle, step, index, capacity, reading);
        }
        const { seen, expected } = told(atc, oracle);
        expect(seen).toEqual(expected);
      }),
      { numRuns: 60 },
    );
  });
});
