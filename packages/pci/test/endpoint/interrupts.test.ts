import {
  AT_TRANSLATED,
  AT_TRANSLATION_REQUEST,
  NO_PASID,
  REQUEST_WRITE,
  endpointConfig,
  pciTopology,
} from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, NIC, nic } from "../support.ts";

const DOORBELL = 0x8080;
const PAGE = 0xfee00;
const TABLE = 0x1000;
const PENDING = 0x1800;

/** A NIC with an MSI-X table of 64 vectors in base address 0. */
function withMsix(): Uint8Array {
  const bytes = endpointConfig(nic);
  const view = new DataView(bytes.buffer);
  let at = bytes[0x34] ?? 0;
  while (bytes[at + 1] !== 0) {
    at = bytes[at + 1] ?? 0;
  }
  bytes[at + 1] = 0xe0;
  view.setUint16(0xe0, 0x11, true);
  view.setUint16(0xe2, 63, true);
  view.setUint32(0xe4, TABLE, true);
  view.setUint32(0xe8, PENDING, true);
  view.setUint32(0x10, 0xf0000000, true);
  return bytes;
}

class MsiMachine extends Machine {
  readonly rung: (readonly [number, number, number])[] = [];

  constructor() {
    super(pciTopology({ rootPorts: [{ bdf: "00:01.0", endpoint: { bdf: "01:00.0", config: withMsix() } }] }));
    this.nic.declareMemory(0, 0x10000);
    this.fabric.addDoorbell(DOORBELL, (rid, offset, data) => {
      this.rung.push([rid, offset, data]);
    });
    this.iommu.map(NO_PASID, PAGE, { host: DOORBELL, read: false, write: true });
  }

  /** Enables MSI with some vectors and their messages at the doorbell. */
  enableMsi(log2Vectors: number): number {
    const at = this.nic.config.findCapability(5);
    this.nic.writeConfig(at + 4, 4, PAGE * 4096 + 0x10);
    this.nic.writeConfig(at + 8, 4, 0);
    this.nic.writeConfig(at + 0xc, 2, 0x40);
    this.nic.writeConfig(at + 2, 2, 1 | (log2Vectors << 4));
    return at;
  }

  msix(control: number): void {
    this.nic.writeConfig(this.nic.config.findCapability(0x11) + 2, 2, control);
  }

  entry(vector: number, data: number, masked: number): void {
    const at = TABLE + vector * 16;
    for (const [index, word] of [PAGE * 4096 + 0x20, 0, data, masked].entries()) {
      this.nic.memory.write(0, at + 4 * index, word);
    }
  }
}

describe("MSI", () => {
  test("nothing is sent while neither kind is enabled", () => {
    expect(new MsiMachine().nic.interrupt(0)).toMatchObject({ what: "not-sent" });
  });

  test("the vector stands in the low bits of the data", () => {
    const machine = new MsiMachine();
    machine.enableMsi(2);
    expect(machine.nic.interrupt(0)).toEqual({ what: "sent", reason: "", status: "success" });
    machine.nic.interrupt(3);
    expect(machine.rung).toEqual([
      [NIC, 0x10, 0x40],
      [NIC, 0x10, 0x43],
    ]);
    expect(() => machine.nic.interrupt(4)).toThrow(/no vector 4, expected 0 to 3/);
    expect(machine.iommu.seen.map(({ flags }) => flags)).toEqual([REQUEST_WRITE, REQUEST_WRITE]);
  });

  test("a masked vector is pending, and goes out once when it is unmasked", () => {
    const machine = new MsiMachine();
    const at = machine.enableMsi(1);
    machine.nic.writeConfig(at + 0x10, 4, 2);
    expect(machine.nic.interrupt(1).what).toBe("pending");
    machine.nic.interrupt(1);
    expect(machine.nic.readConfig(at + 0x14, 4)).toBe(2);
    machine.nic.writeConfig(at + 0x10, 4, 0);
    expect(machine.rung).toEqual([[NIC, 0x10, 0x41]]);
    expect(machine.nic.readConfig(at + 0x14, 4)).toBe(0);
  });

  test("without Bus Master it stays, and a pending one waits on", () => {
    const machine = new MsiMachine();
    const at = machine.enableMsi(0);
    machine.setBusMaster(false);
    expect(machine.nic.interrupt(0)).toMatchObject({ what: "not-sent", reason: "Bus Master Enable is 0" });
    machine.nic.writeConfig(at + 0x10, 4, 1);
    machine.nic.interrupt(0);
    machine.nic.writeConfig(at + 0x10, 4, 0);
    expect(machine.nic.readConfig(at + 0x14, 4)).toBe(1);
    machine.setBusMaster(true);
    expect(machine.rung).toHaveLength(1);
  });
});

describe("MSI-X", () => {
  test("entries, their mask and the function's mask, pending bits in the array", () => {
    const machine = new MsiMachine();
    machine.msix(0x8000);
    expect(machine.nic.interrupt(40).what).toBe("pending");
    expect(machine.nic.memory.read(0, PENDING + 4)).toBe(1 << 8);
    machine.nic.memory.write(0, PENDING + 4, 0);
    machine.entry(40, 0x99, 0);
    expect(machine.rung).toEqual([[NIC, 0x20, 0x99]]);
    expect(machine.nic.memory.read(0, PENDING + 4)).toBe(0);
    machine.msix(0xc000);
    expect(machine.nic.interrupt(40).what).toBe("pending");
    machine.msix(0x8000);
    expect(machine.rung).toHaveLength(2);
    expect(machine.nic.memory.read(0, TABLE + 40 * 16 + 8)).toBe(0x99);
    expect(machine.nic.memory.read(0, TABLE + 41 * 16 + 12)).toBe(1);
    expect(() => machine.nic.interrupt(64)).toThrow(/expected 0 to 63/);
  });

  test("wins over MSI", () => {
    const machine = new MsiMachine();
    machine.enableMsi(0);
    machine.entry(0, 0x77, 0);
    machine.msix(0x8000);
    machine.nic.interrupt(0);
    expect(machine.rung).toEqual([[NIC, 0x20, 0x77]]);
  });

  test("a reset masks every vector and forgets what was pending", () => {
    const machine = new MsiMachine();
    machine.entry(0, 0x77, 0);
    machine.msix(0xc000);
    machine.nic.interrupt(0);
    machine.nic.reset("conventional");
    expect(machine.nic.memory.read(0, PENDING)).toBe(0);
    expect(machine.nic.memory.read(0, TABLE + 12)).toBe(1);
    machine.setBusMaster(true);
    machine.msix(0x8000);
    expect(machine.rung).toEqual([]);
  });

  test("a message may carry a translated address", () => {
    const machine = new MsiMachine();
    machine.entry(0, 0x77, 0);
    machine.msix(0x8000);
    machine.setAts(true);
    machine.nic.interrupts.translated = true;
    machine.nic.interrupt(0);
    expect(machine.rung).toEqual([[NIC, 0x20, 0x77]]);
    expect(machine.iommu.seen.map(({ flags }) => flags)).toEqual([
      AT_TRANSLATION_REQUEST,
      AT_TRANSLATED | REQUEST_WRITE,
    ]);
  });
});
