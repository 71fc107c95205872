import {
  type CapabilityLayout,
  type FieldLayout,
  type RegisterLayout,
  type RegisterReader,
  bit,
  field,
  register,
  whole,
} from "./register-layout.ts";
import { WIDE_ACS_CONTROL, hasWideAcsRegisters } from "./wide-acs.ts";

/** Advanced Error Reporting. */
export const EXT_CAP_ID_AER: number = 0x01;
/** Vendor-Specific Extended Capability. */
export const EXT_CAP_ID_VSEC: number = 0x0b;
/** Access Control Services. */
export const EXT_CAP_ID_ACS: number = 0x0d;
/** Alternative Routing-ID Interpretation. */
export const EXT_CAP_ID_ARI: number = 0x0e;
/** Address Translation Services. */
export const EXT_CAP_ID_ATS: number = 0x0f;
/** Single Root I/O Virtualization. */
export const EXT_CAP_ID_SRIOV: number = 0x10;
/** Page Request Interface. */
export const EXT_CAP_ID_PRI: number = 0x13;
/** Process Address Space ID. */
export const EXT_CAP_ID_PASID: number = 0x1b;
/** Downstream Port Containment. */
export const EXT_CAP_ID_DPC: number = 0x1d;
/** Designated Vendor-Specific Extended Capability. */
export const EXT_CAP_ID_DVSEC: number = 0x23;

/** Address Translation Services (PCIe 6.0 §10.5.1). */
export const ATS_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 2, [
      field(
        "invalidateQueueDepth",
        4,
        0,
        "RO",
        "Invalidate Requests that are taken before the link is throttled; 0 = 32",
      ),
      bit("pageAlignedRequest", 5, "RO", "untranslated addresses are aligned to 4 KB"),
      bit("globalInvalidateSupported", 6, "RO", "understands Global Invalidate"),
      bit("relaxedOrderingSupported", 7, "RO", "may set Relaxed Ordering in Translation Requests"),
      bit("memoryAttributesSupported", 8, "RO", "understands memory attributes of translations"),
    ]),
    register("control", 6, 2, [
      field("stu", 4, 0, "RW", "Smallest Translation Unit: 2^(12+n) bytes"),
      field("memoryAttributesDefault", 13, 11, "RW", "attributes of untranslated requests", {
        needs: { offset: 5, bit: 0 },
      }),
      bit("memoryAttributesEnable", 14, "RW", "memory attributes are sent", { needs: { offset: 5, bit: 0 } }),
      bit("enable", 15, "RW", "translations may be requested and cached"),
    ]),
  ],
};

/** Page Request Interface (PCIe 6.0 §10.5.2). After a reset the interface is stopped. */
export const PRI_LAYOUT: CapabilityLayout = {
  registers: [
    register("control", 4, 2, [
      bit("enable", 0, "RW", "page requests may be sent"),
      bit("reset", 1, "W1", "clears the interface, when it is not enabled"),
    ]),
    register("status", 6, 2, [
      bit("responseFailure", 0, "RW1C", "a response said failure"),
      bit("unexpectedPageRequestGroupIndex", 1, "RW1C", "a response named a group that nobody waits for"),
      bit("stopped", 8, "RO", "no request is outstanding and none will be sent", { reset: 1 }),
      bit("prgResponsePasidRequired", 15, "RO", "responses must carry the PASID of the request"),
    ]),
    whole("outstandingCapacity", 8, 4, "RO", "requests that can be outstanding"),
    whole("outstandingAllocation", 12, 4, "RW", "requests that may be outstanding"),
  ],
};

/** Process Address Space ID (PCIe 6.0 §7.8.9). */
export const PASID_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 2, [
      bit("executePermission", 1, "RO", "can ask for execute permission"),
      bit("privilegedMode", 2, "RO", "can ask for privileged mode"),
      field("maxPasidWidth", 12, 8, "RO", "bits of a PASID, 0 to 20"),
    ]),
    register("control", 6, 2, [
      bit("enable", 0, "RW", "requests may carry a PASID"),
      bit("executePermissionEnable", 1, "RW", "may ask for execute permission", { needs: { offset: 4, bit: 1 } }),
      bit("privilegedModeEnable", 2, "RW", "may ask for privileged mode", { needs: { offset: 4, bit: 2 } }),
    ]),
  ],
};

const acsBits = [
  ["sourceValidation", "requests with a bus number from elsewhere are blocked"],
  ["translationBlocking", "translated requests and Translation Requests are blocked"],
  ["p2pRequestRedirect", "peer-to-peer requests go up to the root complex"],
  ["p2pCompletionRedirect", "completions of redirected requests go up as well"],
  ["upstreamForwarding", "requests that would go back down are sent up"],
  ["p2pEgressControl", "the egress control vector decides about each peer"],
  ["directTranslatedP2p", "translated requests go straight to the peer"],
] as const;

/** One bit per port or function: as many as the capability says, 0 = 256 (PCIe 6.0 §7.7.11.4). */
function* egressControlVector(config: RegisterReader, at: number): Generator<RegisterLayout> {
  if (hasWideAcsRegisters(config)) {
    yield register(
      "wideControl",
      WIDE_ACS_CONTROL,
      4,
      acsBits.map(([name, meaning], index): FieldLayout =>
        bit(name, index, "RW", meaning, { needs: { offset: 4, bit: index } }),
      ),
    );
    return;
  }
  if ((config.read16(at + 4) & 0x20) === 0) {
    return;
  }
  const bits = config.read8(at + 5) || 256;
  for (let first = 0; first < bits; first += 32) {
    const name = first === 0 ? "egressControlVector" : `egressControlVector${first / 32}`;
    const high = Math.min(bits - first, 32) - 1;
    yield register(name, 8 + first / 8, 4, [
      field(name, high, 0, "RW", "peers to which requests are blocked or redirected"),
    ]);
  }
}

/** Access Control Services (PCIe 6.0 §7.7.11): a control bit exists where the capability bit is set. */
export const ACS_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 2, [
      ...acsBits.map(([name, meaning], index): FieldLayout => bit(name, index, "RO", `can do: ${meaning}`)),
      bit("enhanced", 7, "RO", "has the enhanced controls"),
      field("egressControlVectorSize", 15, 8, "HwInit", "bits of the egress control vector; 0 = 256"),
    ]),
    register("control", 6, 2, [
      ...acsBits.map(([name, meaning], index): FieldLayout =>
        bit(name, index, "RW", meaning, { needs: { offset: 4, bit: index } }),
      ),
      bit("ioRequestBlocking", 7, "RW", "I/O requests are blocked", { needs: { offset: 4, bit: 7 } }),
      field("dspMemoryTargetAccess", 9, 8, "RW", "requests to memory of downstream ports: 1 blocked, 2 redirected", {
        needs: { offset: 4, bit: 7 },
      }),
      field("uspMemoryTargetAccess", 11, 10, "RW", "requests to memory of the upstream port: 1 blocked, 2 redirected", {
        needs: { offset: 4, bit: 7 },
      }),
      bit("unclaimedRequestRedirect", 12, "RW", "requests that nobody claims go up", { needs: { offset: 4, bit: 7 } }),
    ]),
  ],
  repeated: egressControlVector,
};

/** Alternative Routing-ID Interpretation (PCIe 6.0 §7.8.8). */
export const ARI_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 2, [
      bit("mfvcFunctionGroups", 0, "RO", "virtual channels arbitrate by function group"),
      bit("acsFunctionGroups", 1, "RO", "ACS egress control works by function group"),
      field("nextFunction", 15, 8, "RO", "number of the next function; 0 ends the list"),
    ]),
    register("control", 6, 2, [
      bit("mfvcFunctionGroupsEnable", 0, "RW", "function groups of virtual channels on", {
        needs: { offset: 4, bit: 0 },
      }),
      bit("acsFunctionGroupsEnable", 1, "RW", "function groups of ACS on", { needs: { offset: 4, bit: 1 } }),
      field("functionGroup", 6, 4, "RW", "group of this function"),
    ]),
  ],
};

/** Single Root I/O Virtualization (PCIe 6.0 §9.3.3). The VF base addresses are found by their values. */
export const SRIOV_LAYOUT: CapabilityLayout = {
  registers: [
    register("capabilities", 4, 4, [
      bit("vfMigration", 0, "RO", "VFs can migrate (withdrawn)"),
      bit("ariHierarchyPreserved", 1, "RO", "ARI Capable Hierarchy survives a change of power state"),
      bit("tenBitTagRequester", 2, "HwInit", "VFs can send 10-bit tags"),
      field("migrationInterruptMessageNumber", 31, 21, "RO", "vector of migration interrupts"),
    ]),
    register("control", 8, 2, [
      bit("vfEnable", 0, "RW", "VFs are there"),
      bit("vfMigrationEnable", 1, "RW", "migration on", { needs: { offset: 4, bit: 0 } }),
      bit("vfMigrationInterruptEnable", 2, "RW", "migration interrupts on", { needs: { offset: 4, bit: 0 } }),
      bit("vfMemorySpace", 3, "RW", "VFs answer at their base addresses"),
      bit("ariCapableHierarchy", 4, "RW", "VFs may use ARI function numbers"),
      bit("tenBitTagRequesterEnable", 5, "RW", "VFs send 10-bit tags", { needs: { offset: 4, bit: 2 } }),
    ]),
    register("status", 0xa, 2, [bit("vfMigrationStatus", 0, "RW1C", "a migration is asked for")]),
    whole("initialVfs", 0xc, 2, "HwInit", "VFs at power-on"),
    whole("totalVfs", 0xe, 2, "HwInit", "VFs at most"),
    whole("numVfs", 0x10, 2, "RW", "VFs wanted"),
    whole("functionDependencyLink", 0x12, 1, "HwInit", "PF on which this one depends; itself = none"),
    whole("firstVfOffset", 0x14, 2, "RO", "requester id of VF 1 less that of the PF"),
    whole("vfStride", 0x16, 2, "RO", "distance between requester ids of VFs"),
    whole("vfDeviceId", 0x1a, 2, "RO", "Device ID of every VF"),
    whole("supportedPageSizes", 0x1c, 4, "RO", "bit n: pages of 2^(12+n) bytes"),
    whole("systemPageSize", 0x20, 4, "RW", "the one page size in use", undefined, { reset: 1 }),
    ...[0, 1, 2, 3, 4, 5].map((index): RegisterLayout =>
      whole(`vfBar${index}`, 0x24 + 4 * index, 4, "RO", "base address of all VFs; writable where in use"),
    ),
    register("vfMigrationStateArray", 0x3c, 4, [
      field("bir", 2, 0, "RO", "base address register of the array"),
      field("offset", 31, 3, "RO", "offset in it, in 8 bytes"),
    ]),
  ],
};
