import type { DecodedFields } from "../config-space/decode-capability.ts";
import {
  EXT_CAP_ID_ACS,
  EXT_CAP_ID_ARI,
  EXT_CAP_ID_ATS,
  EXT_CAP_ID_PASID,
  EXT_CAP_ID_PRI,
  EXT_CAP_ID_SRIOV,
} from "../config-space/extended-layouts.ts";
import { CAP_ID_EXP } from "../config-space/standard-layouts.ts";
import type { DescribedFunction } from "./machine-description.ts";
import { acsWords, portTypeWords } from "./verbose-words.ts";

type Value = number | boolean | undefined;

/**
 * The register fields that the summaries of a description tell about one of its capabilities: the opposite of summing up.
 * Empty where there is no summary of that capability.
 */
export function summaryFields(device: DescribedFunction, id: number, isExtended: boolean): DecodedFields {
  return numbers(isExtended ? extendedFields(device, id) : id === CAP_ID_EXP ? expressFields(device) : {});
}

function extendedFields(device: DescribedFunction, id: number): Record<string, Value> {
  switch (id) {
    case EXT_CAP_ID_ATS:
      return atsFields(device);
    case EXT_CAP_ID_PRI:
      return priFields(device);
    case EXT_CAP_ID_PASID:
      return pasidFields(device);
    case EXT_CAP_ID_ACS:
      return acsFields(device);
    case EXT_CAP_ID_ARI:
      return {
        "capability.mfvcFunctionGroups": device.ari?.mfvc,
        "capability.acsFunctionGroups": device.ari?.acs,
        "capability.nextFunction": device.ari?.nextFunction,
      };
    case EXT_CAP_ID_SRIOV:
      return sriovFields(device);
    default:
      return {};
  }
}

function expressFields({ pcie, devCap2 }: DescribedFunction): Record<string, Value> {
  const most = pcie?.maxEetlpPrefixes ?? devCap2?.maxEetlpPrefixes;
  return {
    "flags.version": pcie?.capVersion,
    "flags.type": portTypeWords.find(([words]) => words === pcie?.type)?.[1],
    "flags.slot": pcie?.slot,
    "deviceCapabilities.functionLevelReset": pcie?.flr,
    "deviceCapabilities2.endEndTlpPrefix": pcie?.eetlpPrefix ?? devCap2?.eetlpPrefix,
    "deviceCapabilities2.maxEndEndTlpPrefixes": most === undefined ? undefined : most % 4,
    "deviceCapabilities2.ariForwarding": pcie?.ariFwd ?? devCap2?.ariFwd,
  };
}

function atsFields({ ats }: DescribedFunction): Record<string, Value> {
  return {
    "capability.invalidateQueueDepth": ats?.invalidateQueueDepth,
    "capability.pageAlignedRequest": ats?.pageAlignedRequest,
    "capability.globalInvalidateSupported": ats?.globalInvalidate,
    "capability.relaxedOrderingSupported": ats?.relaxedOrdering,
    "control.stu": ats?.smallestTranslationUnit,
    "control.enable": ats?.enable,
  };
}

function priFields({ pri }: DescribedFunction): Record<string, Value> {
  return {
    "control.enable": pri?.enable,
    "status.responseFailure": pri?.status?.includes("RF"),
    "status.unexpectedPageRequestGroupIndex": pri?.status?.includes("UPRGI"),
    "status.stopped": pri?.status?.includes("Stopped"),
    "status.prgResponsePasidRequired": pri?.status?.includes("PASID"),
    outstandingCapacity: pri?.outstandingCapacity,
    outstandingAllocation: pri?.outstandingAllocation,
  };
}

function pasidFields({ pasid }: DescribedFunction): Record<string, Value> {
  return {
    "capability.executePermission": pasid?.execSupported,
    "capability.privilegedMode": pasid?.privSupported,
    "capability.maxPasidWidth": pasid?.maxPasidWidth,
    "control.enable": pasid?.enable,
    "control.executePermissionEnable": pasid?.execEnable,
    "control.privilegedModeEnable": pasid?.privEnable,
  };
}

function acsFields({ acs }: DescribedFunction): Record<string, Value> {
  const fields: Record<string, Value> = {};
  for (const [word, field] of Object.entries(acsWords)) {
    fields[`capability.${field}`] = acs?.capability.includes(word);
    fields[`control.${field}`] = acs?.control.includes(word);
  }
  return fields;
}

function sriovFields({ sriov }: DescribedFunction): Record<string, Value> {
  return {
    "control.vfEnable": sriov?.enable,
    initialVfs: sriov?.initialVFs,
    totalVfs: sriov?.totalVFs,
    numVfs: sriov?.numVFs,
    firstVfOffset: sriov?.vfOffset,
    vfStride: sriov?.vfStride,
    vfDeviceId: sriov?.vfDeviceId === undefined ? undefined : Number.parseInt(sriov.vfDeviceId, 16),
  };
}

function numbers(fields: Record<string, Value>): DecodedFields {
  const known: Record<string, number> = {};
  for (const [key, value] of Object.entries(fields)) {
    if (value !== undefined) {
      known[key] = Number(value);
    }
  }
  return known;
}
