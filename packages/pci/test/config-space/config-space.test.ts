import { InputError } from "@iommu-lab/core";
import {
  CAP_ID_EXP,
  ConfigSpace,
  EXT_CAP_ID_ATS,
  EXT_CAP_ID_PASID,
  EXT_CAP_ID_PRI,
  endpointConfig,
} from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";

const nic = endpointConfig({
  vendor: 0x8086,
  device: 0x1592,
  class: 0x020000,
  ats: { queueDepth: 32 },
  pasid: { width: 20, exec: true },
  pri: { capacity: 64 },
});

describe("ConfigSpace", () => {
  test("a write changes what its register lets software change", () => {
    const config = new ConfigSpace(nic);
    const ats = config.findExtendedCapability(EXT_CAP_ID_ATS);
    config.write(ats + 4, 4, 0xffff_ffff);
    expect(config.read16(ats + 4)).toBe(0x0020);
    expect(config.read16(ats + 6)).toBe(0x801f);
    const pasid = config.findExtendedCapability(EXT_CAP_ID_PASID);
    config.write(pasid + 6, 2, 0xffff);
    expect(config.read16(pasid + 6)).toBe(0x0003);
  });

  test("a listener learns of actions that read back as 0", () => {
    const config = new ConfigSpace(nic);
    const seen: number[][] = [];
    const stop = config.onWrite((...what) => seen.push(what));
    const exp = config.findCapability(CAP_ID_EXP);
    config.write(exp + 8, 2, 0xa810);
    stop();
    config.write(exp + 8, 2, 0x2810);
    expect(seen).toEqual([[exp + 8, 2, 0x2810, 0x2810, 0x8000]]);
  });

  test("an FLR disables ATS, PASID and PRI", () => {
    const config = new ConfigSpace(nic);
    const ats = config.findExtendedCapability(EXT_CAP_ID_ATS);
    const pri = config.findExtendedCapability(EXT_CAP_ID_PRI);
    config.write(4, 2, 0x0406);
    config.write(ats + 6, 2, 0x8004);
    config.poke16(pri + 6, 0x8003);
    config.write(pri + 12, 4, 64);
    config.reset("flr");
    expect(config.read16(4)).toBe(0);
    expect(config.read16(ats + 6)).toBe(0);
    expect(config.read16(pri + 6)).toBe(0x8100);
    expect(config.read32(pri + 12)).toBe(0);
  });

  test("a fork has the registers as they stand, and goes its own way", () => {
    const config = new ConfigSpace(nic);
    const ats = config.findExtendedCapability(EXT_CAP_ID_ATS);
    const heard: number[] = [];
    config.onWrite((offset) => heard.push(offset));
    config.write(ats + 6, 2, 0x8000);
    const fork = config.fork();
    expect(fork.toBytes()).toEqual(config.toBytes());
    expect(fork.size).toBe(config.size);
    // The fork loses its PASID capability; its origin keeps it, with what software may do there.
    const pasid = fork.findExtendedCapability(EXT_CAP_ID_PASID);
    fork.poke16(ats + 2, 0x0001);
    fork.write(ats + 6, 2, 0);
    fork.write(pasid + 6, 2, 3);
    expect(fork.findExtendedCapability(EXT_CAP_ID_PASID)).toBe(0);
    expect(fork.read16(pasid + 6)).toBe(0);
    config.write(pasid + 6, 2, 3);
    expect(config.read16(pasid + 6)).toBe(3);
    expect(config.read16(ats + 6)).toBe(0x8000);
    expect(heard).toEqual([ats + 6, pasid + 6]);
    const again = fork.fork();
    again.reset("flr");
    expect(again.read16(ats + 6)).toBe(0);
  });

  test("beyond the end everything reads as ones, and nothing can be written", () => {
    const config = new ConfigSpace(new Uint8Array(64));
    expect(config.size).toBe(256);
    expect(config.read32(0x100)).toBe(0xffffffff);
    config.write(0x100, 4, 0);
    expect(config.read8(0x100)).toBe(0xff);
  });

  test("no bytes, or more than 4096, are refused", () => {
    expect(() => new ConfigSpace(new Uint8Array(0))).toThrow(InputError);
    expect(() => new ConfigSpace(new Uint8Array(4097))).toThrow(InputError);
  });
});
