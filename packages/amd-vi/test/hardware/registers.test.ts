import { encodeDeviceTableBase, encodeDte, encodeFeatures, invalidateDevtabEntry } from "@iommu-lab/amd-vi";
import { hex64 } from "@iommu-lab/core";
import { NO_PASID } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { CONTROL, DEVICE_TABLE_BASE } from "../registers.ts";
import { Machine, RID, TRANSLATED } from "./machine.ts";

const SEGMENT = 0x100;
const read64 = (machine: Machine, offset: number): string =>
  hex64(machine.unit.read32(offset), machine.unit.read32(offset + 4));

describe("segments of the device table", () => {
  function segmented(bits: number): Machine {
    const machine = new Machine({ efr: encodeFeatures({ features: { deviceTableSegments: 3 } }) });
    const lo = machine.unit.read32(CONTROL);
    machine.unit.write64(CONTROL, lo, bits << 2);
    return machine;
  }

  test.each([
    [1, 0x8001, 1, 1],
    [2, 0xc002, 3, 2],
    [3, 0xe003, 7, 3],
    [3, 0x2004, 1, 4],
  ])("DevTblSegEn %i: device %i is in segment %i", (bits, rid, segment, index) => {
    const machine = segmented(bits);
    const table = machine.allocate(4096);
    machine.unit.write64(SEGMENT + (segment - 1) * 8, ...encodeDeviceTableBase(table, 4096));
    for (const [at, word] of encodeDte({ ...TRANSLATED, write: false }).entries()) {
      machine.memory.store32(table + index * 32 + at * 4, word);
    }
    machine.submit(invalidateDevtabEntry(rid));
    expect(machine.unit.translate(rid, NO_PASID, 5, 0, 0).status).toBe("success");
    expect(machine.unit.translate(rid, NO_PASID, 5, 0, 4).fault).toBe("IO_PAGE_FAULT");
  });

  test("more than the unit has cannot be switched on, nor written", () => {
    const machine = new Machine();
    machine.unit.write64(CONTROL, machine.unit.read32(CONTROL), 3 << 2);
    machine.unit.write64(SEGMENT, 0x1234000, 0);
    expect(read64(machine, SEGMENT)).toBe(hex64(0, 0));
    machine.setDte(TRANSLATED, 0xe003);
    expect(machine.unit.translate(0xe003, NO_PASID, 5, 0, 0).status).toBe("success");
  });
});

describe("Hardware Event registers", () => {
  const withRegisters = encodeFeatures({ features: { hardwareErrorRegisters: true } });

  test("keep the first hardware error until software clears V", () => {
    const machine = new Machine({ efr: withRegisters });
    machine.unit.write64(DEVICE_TABLE_BASE, 0x1ff, 0);
    machine.write(0x12345);
    machine.read(0x54321);
    expect([0x40, 0x48, 0x50].map((offset) => read64(machine, offset))).toEqual([
      "0x3220000000003a00",
      hex64(RID * 32, 0),
      hex64(3, 0),
    ]);
    machine.unit.write64(0x50, 0, 0);
    machine.read(0x54321);
    expect([read64(machine, 0x40), read64(machine, 0x50)]).toEqual(["0x3200000000003a00", hex64(1, 0)]);
  });

  test("stay 0 without HESup, and for other events", () => {
    for (const machine of [new Machine(), new Machine({ efr: withRegisters })]) {
      if (machine.unit.features.hardwareErrorRegisters) {
        machine.setDte({ ...TRANSLATED, read: false, write: false });
      } else {
        machine.unit.write64(DEVICE_TABLE_BASE, 0x1ff, 0);
      }
      machine.write(0x12345);
      expect(read64(machine, 0x50)).toBe(hex64(0, 0));
    }
  });
});

describe("automatic responses", () => {
  const request = { rid: RID, pasid: 0x12, page: 0x7f000, read: true, write: true, last: true, groupIndex: 5 };

  function full(options: { readonly autoResponse: boolean; readonly always?: boolean }): Machine {
    const machine = new Machine({ efr: encodeFeatures({ features: { pprAutoResponse: options.autoResponse } }) });
    machine.setDte({ ...TRANSLATED, pageRequests: true });
    machine.unit.write64(0x2080, 0xf, 0);
    const hi = options.always === true ? 1 << 10 : 1 << 7;
    machine.unit.write64(CONTROL, machine.unit.read32(CONTROL), hi);
    for (let count = 0; count < 255; count += 1) {
      machine.unit.pageRequest({ ...request, last: false });
    }
    return machine;
  }

  test("a request that the log has no room for is answered by the unit", () => {
    const machine = full({ autoResponse: true });
    expect(machine.root.sent).toEqual([]);
    machine.unit.pageRequest(request);
    expect(machine.root.sent).toMatchObject([{ kind: "response", pasid: 0x12, tag: 5, code: 15 }]);
  });

  test("it is lost without the feature", () => {
    const machine = full({ autoResponse: false });
    machine.unit.pageRequest(request);
    expect(machine.root.sent).toEqual([]);
  });
});

test("registers that do nothing hold what was written", () => {
  const machine = new Machine();
  for (const offset of [0x60, 0xd8, 0xf0, 0xf8, 0x150, 0x170, 0x200, 0x2050, 0x2070, 0x2090]) {
    machine.unit.write64(offset, 0x12345678, offset);
    expect(read64(machine, offset)).toBe(hex64(0x12345678, offset));
  }
});

test("IotlbSup=0: I of a DTE counts for nothing", () => {
  const machine = new Machine({ iotlbSup: false });
  machine.setDte({ ...TRANSLATED, iotlb: true });
  expect([machine.ask(5).fault, machine.translated(5).fault]).toEqual([
    "INVALID_DEVICE_REQUEST",
    "INVALID_DEVICE_REQUEST",
  ]);
});
