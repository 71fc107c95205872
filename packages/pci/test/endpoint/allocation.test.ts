import { AT_TRANSLATED, type DmaResult, type IommuHardware, NO_PASID, TranslateResult } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine } from "../support.ts";

const CALLS = 1_000_000;
const CHUNKS = 20;

/**
 * Bytes of heap that one call leaves, as the median of chunks: a garbage collection falls into a few of them, an
 * allocation into all. A first round is not counted: code that is not compiled yet boxes numbers, for long on a busy machine.
 */
function bytesPerCall(body: (index: number) => void): number {
  const chunk = CALLS / CHUNKS;
  const grown: number[] = [];
  for (let index = 0; index < CALLS; index += 1) {
    body(index);
  }
  for (let round = 0; round < CHUNKS; round += 1) {
    const before = process.memoryUsage().heapUsed;
    for (let index = 0; index < chunk; index += 1) {
      body(index);
    }
    grown.push((process.memoryUsage().heapUsed - before) / chunk);
  }
  return grown.toSorted((a, b) => a - b)[CHUNKS / 2] ?? Infinity;
}

/** An IOMMU that passes everything and keeps nothing. */
class PassAll implements IommuHardware {
  readonly name = "pass";
  readonly #result = new TranslateResult();
  readonly #host: number;

  constructor(host: number) {
    this.#host = host;
  }

  translate(_rid: number, _pasid: number, page: number, _offset: number, flags: number): TranslateResult {
    return this.#result.pass((flags & 3) === AT_TRANSLATED ? page : this.#host, true, true);
  }

  pageRequest(): void {
    throw new Error("no page requests here");
  }

  invalidateCompletion(): void {
    throw new Error("no invalidations here");
  }
}

describe("nothing is allocated", () => {
  const machine = new Machine(undefined, { iommu: false });
  machine.fabric.attachIommu(new PassAll(machine.buffer), () => true);
  machine.setAts(true);
  const { nic } = machine;
  for (let page = 0; page < 64; page += 1) {
    nic.translationRequest(page);
  }
  let last: DmaResult | undefined;

  test("by a lookup in the ATC, hit or miss", () => {
    let found = 0;
    const perCall = bytesPerCall((index) => {
      found += nic.atc.lookup(index & 127, NO_PASID) === undefined ? 0 : 1;
    });
    expect(found).toBeGreaterThan(CALLS / 3);
    expect(perCall).toBeLessThan(1);
  });

  test("by an access that the ATC serves", () => {
    const perCall = bytesPerCall((index) => {
      last = nic.dmaWrite(index & 63, 0, index & 0xff);
    });
    expect(last?.status).toBe("success");
    expect(perCall).toBeLessThan(1);
  });

  test("by an Untranslated request", () => {
    const perCall = bytesPerCall((index) => {
      last = nic.untranslatedRead(index & 63, 8);
    });
    expect(last?.status).toBe("success");
    expect(perCall).toBeLessThan(1);
  });

  test("the measure sees an allocation", () => {
    const kept: unknown[] = [];
    const perCall = bytesPerCall((index) => {
      kept[index & 7] = { index };
    });
    expect(kept).toHaveLength(8);
    expect(perCall).toBeGreaterThan(8);
  });
});
