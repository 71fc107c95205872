import { addAri, addPcie } from "../config-space/capability-options.ts";
import { ConfigBuilder } from "../config-space/config-builder.ts";
import {
  EXT_CAP_ID_ACS,
  EXT_CAP_ID_ATS,
  EXT_CAP_ID_PASID,
  EXT_CAP_ID_PRI,
  EXT_CAP_ID_SRIOV,
} from "../config-space/extended-layouts.ts";
import { PCIE_TYPE } from "../config-space/standard-layouts.ts";
import type { DescribedFunction, MachineDescription } from "../import/machine-description.ts";
import type { MachineFunction } from "./machine-function.ts";
import { pathBuses } from "./described-path.ts";

const ACS_BITS: readonly string[] = [
  "SrcValid",
  "TransBlk",
  "ReqRedir",
  "CmpltRedir",
  "UpstreamFwd",
  "EgressCtrl",
  "DirectTrans",
];
const PRI_STATUS: readonly (readonly [string, number])[] = [
  ["RF", 0x0001],
  ["UPRGI", 0x0002],
  ["Stopped", 0x0100],
  ["PASID", 0x8000],
];
/** The words of `lspci` for the Device/Port Type, lower case without punctuation. */
const TYPES: readonly (readonly [string, number])[] = [
  ["endpoint", PCIE_TYPE.endpoint],
  ["legacy endpoint", PCIE_TYPE.legacyEndpoint],
  ["root port", PCIE_TYPE.rootPort],
  ["upstream port", PCIE_TYPE.upstreamPort],
  ["downstream port", PCIE_TYPE.downstreamPort],
  ["pci express to pci pci x bridge", PCIE_TYPE.pcieToPciBridge],
  ["pci pci x to pci express bridge", PCIE_TYPE.pciToPcieBridge],
  ["root complex integrated endpoint", PCIE_TYPE.integratedEndpoint],
  ["root complex event collector", PCIE_TYPE.eventCollector],
];
const BRIDGE = 0x0604;
const CARDBUS = 0x0607;
const UNKNOWN_VENDOR = 0xfffe;

/**
 * Config space of every function of a machine that decoded text describes: what the text tells, at the places where such
 * functions have it, and nothing else. What it does not tell is listed with the function.
 */
export function describedFunctions(description: MachineDescription): readonly MachineFunction[] {
  const buses = pathBuses(description.devices);
  return description.devices.map((one) => {
    const { bytes, unknown } = describedBytes(one, buses.get(one.bdf));
    return { bdf: one.bdf, bytes, unknown };
  });
}

interface Buses {
  readonly secondary: number;
  readonly subordinate: number;
}

function describedBytes(
  one: DescribedFunction,
  fromPath: Buses | undefined,
): { readonly bytes: Uint8Array; readonly unknown: readonly string[] } {
  const to = new ConfigBuilder();
  const unknown: string[] = [];
  setIdentity(to, one, unknown);
  const classCode = hex(one.class) ?? 0;
  const isBridge = one.bridge !== undefined || classCode === BRIDGE || classCode === CARDBUS;
  const headerType = one.headerType ?? (classCode === CARDBUS ? 2 : isBridge ? 1 : 0);
  const multiFunction = one.multiFunction ?? one.severalFunctionsSeen ?? false;
  if (one.multiFunction === undefined) {
    unknown.push("multi-function bit");
  }
  to.set8(0x0e, headerType | (multiFunction ? 0x80 : 0));
  if (isBridge) {
    to.set8(0x18, hex(one.bridge?.primary) ?? Number.parseInt(one.bdf.slice(-7, -5), 16));
    to.set8(0x19, hex(one.bridge?.secondary) ?? fromPath?.secondary ?? 0);
    to.set8(0x1a, hex(one.bridge?.subordinate) ?? fromPath?.subordinate ?? 0);
    if (one.bridge === undefined && fromPath === undefined) {
      unknown.push("bus numbers");
    }
  } else if (one.subsystem !== undefined) {
    to.set16(0x2c, hex(one.subsystem.vendor) ?? 0);
    to.set16(0x2e, hex(one.subsystem.device) ?? 0);
  }
  setPcie(to, one, unknown);
  setExtended(to, one);
  return { bytes: to.bytes(), unknown };
}

function setIdentity(to: ConfigBuilder, one: DescribedFunction, unknown: string[]): void {
  const vendor = hex(one.vendor);
  const device = hex(one.device ?? one.deviceCandidates?.[0]);
  if (vendor === undefined) {
    unknown.push("vendor");
  }
  if (one.device === undefined) {
    unknown.push("device");
  }
  to.set16(0x00, vendor ?? UNKNOWN_VENDOR);
  to.set16(0x02, device ?? 0);
  // Memory Space and Bus Master, as a machine that runs has them.
  to.set16(0x04, 0x0006);
  to.set8(0x08, hex(one.revision) ?? 0);
  to.set8(0x09, hex(one.progIf) ?? 0);
  to.set16(0x0a, hex(one.class) ?? 0);
}

function setPcie(to: ConfigBuilder, one: DescribedFunction, unknown: string[]): void {
  const { pcie } = one;
  if (pcie === undefined) {
    return;
  }
  const words = (pcie.type ?? "").toLowerCase().replaceAll(/[^a-z]+/g, " ").trim();
  const type = TYPES.find(([name]) => name === words)?.[1];
  if (type === undefined) {
    unknown.push("PCI Express type");
  }
  addPcie(to, {
    type: type ?? PCIE_TYPE.endpoint,
    flr: pcie.flr ?? false,
    endEndTlpPrefix: pcie.eetlpPrefix ?? one.devCap2?.eetlpPrefix ?? false,
    ariForwarding: pcie.ariFwd ?? one.devCap2?.ariFwd ?? false,
    slot: pcie.slot ?? false,
  });
}

function setExtended(to: ConfigBuilder, one: DescribedFunction): void {
  if (one.ats !== undefined) {
    const at = to.extended(EXT_CAP_ID_ATS, 1, 8);
    const { invalidateQueueDepth = 0, pageAlignedRequest = true, globalInvalidate = false } = one.ats;
    const flags = (pageAlignedRequest ? 0x20 : 0) | (globalInvalidate ? 0x40 : 0);
    to.set16(at + 4, (invalidateQueueDepth & 0x1f) | flags | (one.ats.relaxedOrdering === true ? 0x80 : 0));
    to.set16(at + 6, ((one.ats.smallestTranslationUnit ?? 0) & 0x1f) | (one.ats.enable === true ? 0x8000 : 0));
  }
  if (one.pasid !== undefined) {
    const at = to.extended(EXT_CAP_ID_PASID, 1, 8);
    const { execSupported = false, privSupported = false, maxPasidWidth = 0, execEnable, privEnable } = one.pasid;
    to.set16(at + 4, bits(false, execSupported, privSupported) | ((maxPasidWidth & 0x1f) << 8));
    to.set16(at + 6, bits(one.pasid.enable, execEnable, privEnable));
  }
  if (one.pri !== undefined) {
    const at = to.extended(EXT_CAP_ID_PRI, 1, 16);
    const status = PRI_STATUS.filter(([name]) => one.pri?.status?.includes(name) ?? false);
    to.set16(at + 4, one.pri.enable === true ? 1 : 0);
    to.set16(
      at + 6,
      status.reduce((word, [, bit]) => word | bit, 0),
    );
    to.set32(at + 8, one.pri.outstandingCapacity ?? 0);
    to.set32(at + 12, one.pri.outstandingAllocation ?? 0);
  }
  if (one.acs !== undefined) {
    const at = to.extended(EXT_CAP_ID_ACS, 1, 16);
    to.set16(at + 4, bits(...ACS_BITS.map((name) => one.acs?.capability.includes(name))));
    to.set16(at + 6, bits(...ACS_BITS.map((name) => one.acs?.control.includes(name))));
  }
  if (one.ari !== undefined) {
    addAri(to, (one.ari.nextFunction ?? 0) & 0xff);
  }
  setSriov(to, one);
}

function setSriov(to: ConfigBuilder, { sriov }: DescribedFunction): void {
  if (sriov === undefined) {
    return;
  }
  const at = to.extended(EXT_CAP_ID_SRIOV, 1, 0x40);
  to.set16(at + 8, sriov.enable === true ? 9 : 0);
  to.set16(at + 0x0c, sriov.initialVFs ?? sriov.totalVFs ?? 0);
  to.set16(at + 0x0e, sriov.totalVFs ?? 0);
  to.set16(at + 0x10, sriov.numVFs ?? 0);
  to.set16(at + 0x14, sriov.vfOffset ?? 0);
  to.set16(at + 0x16, sriov.vfStride ?? 0);
  to.set16(at + 0x1a, hex(sriov.vfDeviceId) ?? 0);
  to.set32(at + 0x1c, 0x553);
  to.set32(at + 0x20, 1);
}

function bits(...set: readonly (boolean | undefined)[]): number {
  return set.reduce((word, one, index) => word | (one === true ? 1 << index : 0), 0);
}

function hex(digits: string | undefined): number | undefined {
  return digits !== undefined && /^[\da-f]{1,6}$/i.test(digits) ? Number.parseInt(digits, 16) : undefined;
}
