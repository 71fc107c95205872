import type { Platform } from "@iommu-lab/core";
import { Clock, Digest, Lock, PhysicalMemory } from "@iommu-lab/core";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { busDevice } from "../iommu/fake-driver.ts";
import { groupOf, machine } from "../iommu/machine.ts";

function digestOf(write: (into: Digest) => void): string {
  const digest = new Digest();
  write(digest);
  return digest.value;
}

function numbers(values: readonly number[]): string {
  return digestOf((into) => values.forEach((value) => into.number(value)));
}

describe("a digest", () => {
  it("sees two changes of the highest bit, wherever they are", () => {
    const bit = fc.constantFrom(0, 0x80000000);
    fc.assert(
      fc.property(
        fc.array(bit, { minLength: 2, maxLength: 6 }),
        fc.array(bit, { minLength: 2, maxLength: 6 }),
        (a, b) => {
          expect(numbers(a) === numbers(b)).toBe(a.join() === b.join());
        },
      ),
    );
  });

  it("tells what never comes from what comes at 0", () => {
    expect(numbers([Infinity])).not.toBe(numbers([0]));
  });

  it("of a clock and of a lock changes with them", () => {
    const clock = new Clock();
    const before = digestOf((into) => clock.digest(into));
    clock.advance(1);
    expect(digestOf((into) => clock.digest(into))).not.toBe(before);
    const lock = new Lock("mutex");
    const held = (mode: "exclusive" | "shared", name: string): string => {
      const owner = { id: 1, name };
      lock.grant(owner, mode);
      const value = digestOf((into) => lock.digest(into));
      lock.release(owner);
      return value;
    };
    const free = digestOf((into) => lock.digest(into));
    expect(new Set([free, held("exclusive", "a"), held("shared", "a"), held("shared", "b")]).size).toBe(4);
    expect(digestOf((into) => lock.digest(into))).toBe(free);
  });
});

describe("the digest of memory", () => {
  const digest = (memory: PhysicalMemory): string => digestOf((into) => memory.digest(into));

  it("does not see that zeros were written", () => {
    const memory = new PhysicalMemory();
    const untouched = digest(memory);
    memory.store32(memory.base, 0);
    expect(digest(memory)).toBe(untouched);
    memory.store32(memory.base, 1);
    expect(digest(memory)).not.toBe(untouched);
  });

  it("sees where the next allocation will be", () => {
    const memory = new PhysicalMemory();
    const untouched = digest(memory);
    const address = memory.allocate(4096, 4096, "a", "b");
    const allocated = digest(memory);
    memory.release(address);
    expect(new Set([untouched, allocated, digest(memory)]).size).toBe(3);
  });
});

describe("the digest of the IOMMU core", () => {
  const digest = (platform: Platform): string => digestOf((into) => platform.iommu.digest(into));

  it("is the same for the same history, and each step changes it", () => {
    const history = (): string[] => {
      const { core, platform, run, device } = machine({ setup: (driver) => (driver.deferred = true) });
      const group = groupOf(device);
      const seen = [digest(platform)];
      const step = (body: () => unknown): void => {
        body();
        seen.push(digest(platform));
      };
      step(() => run(core.dma.map(device, 5, 1, 3)));
      step(() => run(core.dma.prepareMsi(device, 0x8080)));
      step(() => run(core.storeType(group, "DMA-FQ")));
      step(() => run(core.useDefaultDomain(device)));
      step(() => (device.driver = { name: "nic", managesDma: false }));
      step(() => run(core.attachPasid(core.allocPaging(device, { pasid: true }), device, 3)));
      step(() => run(core.resetPrepare(device)));
      step(() => run(core.resetPrepare(device)));
      step(() => run(core.addDevice(busDevice("b"))));
      step(() => core.newDomainId());
      step(() => group.mutex.grant({ id: 1, name: "a" }, "exclusive"));
      return seen;
    };
    const seen = history();
    expect(new Set(seen).size).toBe(seen.length);
    expect(history()).toEqual(seen);
  });
});
