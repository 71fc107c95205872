import { capabilityId } from "../config-space/capability-names.ts";
import type { DecodedFields } from "../config-space/decode-capability.ts";
import type { DescribedCapability, DescribedFunction } from "./machine-description.ts";
import { type Summaries, summarize } from "./summaries.ts";

/** Which fields each word of a summary comes from; without all of them the word is left out. */
const sources: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  ats: {
    invalidateQueueDepth: ["capability.invalidateQueueDepth"],
    pageAlignedRequest: ["capability.pageAlignedRequest"],
    globalInvalidate: ["capability.globalInvalidateSupported"],
    relaxedOrdering: ["capability.relaxedOrderingSupported"],
    enable: ["control.enable"],
    smallestTranslationUnit: ["control.stu"],
  },
  pri: {
    enable: ["control.enable"],
    status: ["status.stopped"],
    outstandingCapacity: ["outstandingCapacity"],
    outstandingAllocation: ["outstandingAllocation"],
  },
  pcie: {
    type: ["flags.type"],
    capVersion: ["flags.version"],
    slot: ["flags.slot"],
    flr: ["deviceCapabilities.functionLevelReset"],
    eetlpPrefix: ["deviceCapabilities2.endEndTlpPrefix"],
    maxEetlpPrefixes: ["deviceCapabilities2.maxEndEndTlpPrefixes"],
    ariFwd: ["deviceCapabilities2.ariForwarding"],
  },
  cxl: {
    cache: ["capability.cacheCapable"],
    io: ["capability.ioCapable"],
    mem: ["capability.memCapable"],
    memHwInit: ["capability.memHwInit"],
    hdmCount: ["capability.hdmCount"],
    viral: ["capability.viralCapable"],
    resetCapable: ["capability.cxlResetCapable"],
    locked: ["lock.configLock"],
    control: ["control.cacheEnable"],
  },
};

const parts = ["ats", "pri", "pasid", "acs", "ari", "sriov", "cxl"] as const;

/** Puts together what text told of one function: facts, header fields, capabilities; with summaries of what is known. */
export function describeFunction(
  facts: Partial<DescribedFunction>,
  header: DecodedFields,
  capabilities: readonly DescribedCapability[],
): DescribedFunction {
  const identified = capabilities.map(({ offset, name, fields = {} }) => {
    const isExtended = offset.length > 2;
    return { id: capabilityId(name, isExtended) ?? -1, extended: isExtended, fields };
  });
  const summaries = summarize(identified.map(withUntold));
  const known = (part: keyof Summaries): DecodedFields =>
    identified.find(
      ({ id, extended, fields }) => id === ids[part] && extended === (part !== "pcie") && isOf(part, fields),
    )?.fields ?? {};
  const found: Record<string, unknown> = { ...facts, capabilities };
  if (Object.keys(header).length > 0) {
    found["header"] = header;
  }
  if (header["secondaryBus"] !== undefined) {
    found["bridge"] = {
      primary: digits(header["primaryBus"]),
      secondary: digits(header["secondaryBus"]),
      subordinate: digits(header["subordinateBus"]),
    };
  }
  const express = only("pcie", summaries.pcie, known("pcie"));
  if (express !== undefined) {
    const { eetlpPrefix, maxEetlpPrefixes, ariFwd, ...rest } = express as Record<string, unknown>;
    found["pcie"] = rest;
    const second = Object.entries({ eetlpPrefix, maxEetlpPrefixes, ariFwd }).filter(([, value]) => value !== undefined);
    if (second.length > 0) {
      found["devCap2"] = Object.fromEntries(second);
    }
  }
  for (const part of parts) {
    const summary = only(part, summaries[part], known(part));
    if (summary !== undefined) {
      found[part] = summary;
    }
  }
  return found as unknown as DescribedFunction;
}

const ids: Readonly<Record<keyof Summaries, number>> = {
  pcie: 0x10,
  ats: 0x0f,
  pri: 0x13,
  pasid: 0x1b,
  acs: 0x0d,
  ari: 0x0e,
  sriov: 0x10,
  cxl: 0x23,
};

/** Fields that the text leaves out for many functions, without which a capability would count as cut off. */
function withUntold<
  Capability extends { readonly id: number; readonly extended: boolean; readonly fields: DecodedFields },
>(capability: Capability): Capability {
  const { id, extended, fields } = capability;
  if (id === ids.pcie && !extended && Object.keys(fields).length > 0) {
    return { ...capability, fields: { "deviceCapabilities.functionLevelReset": 0, ...fields } };
  }
  if (id === ids.cxl && extended && isOf("cxl", fields)) {
    return { ...capability, fields: { "lock.configLock": 0, ...fields } };
  }
  return capability;
}

function isOf(part: keyof Summaries, fields: DecodedFields): boolean {
  return part !== "cxl" || (fields["header1.vendor"] === 0x1e98 && fields["header2.id"] === 0);
}

/** A summary without the words whose fields the text does not tell. */
function only(part: keyof Summaries, summary: object | undefined, fields: DecodedFields): object | undefined {
  const needed = sources[part];
  if (summary === undefined || needed === undefined) {
    return summary;
  }
  return Object.fromEntries(
    Object.entries(summary).filter(([word]) => (needed[word] ?? []).every((key) => fields[key] !== undefined)),
  );
}

function digits(bus: number | undefined): string {
  return (bus ?? 0).toString(16).padStart(2, "0");
}
