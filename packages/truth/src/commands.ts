import { deviceOf } from "./lifecycle.ts";
import type { Phase, RecordedEvent, Recording } from "./recording.ts";

/** A command by its opcode; `any` where the trace shows only how many there were. */
export type Opcode = string;

/** What was sent to the IOMMU between the entry of one attach and its return. */
export interface AttachCommands {
  readonly device: string;
  readonly opcodes: readonly Opcode[];
}

type Vendor = Recording["vendor"];

/** SMMUv3 §4: opcode in bits 7:0 of the first doubleword. */
const SMMU: ReadonlyMap<bigint, string> = new Map([
  [0x01n, "PREFETCH_CONFIG"],
  [0x03n, "CFGI_STE"],
  [0x04n, "CFGI_STE_RANGE"],
  [0x05n, "CFGI_CD"],
  [0x06n, "CFGI_CD_ALL"],
  [0x10n, "TLBI_NH_ALL"],
  [0x11n, "TLBI_NH_ASID"],
  [0x12n, "TLBI_NH_VA"],
  [0x13n, "TLBI_NH_VAA"],
  [0x28n, "TLBI_S12_VMALL"],
  [0x2an, "TLBI_S2_IPA"],
  [0x30n, "TLBI_NSNH_ALL"],
  [0x40n, "ATC_INV"],
  [0x41n, "PRI_RESP"],
  [0x44n, "RESUME"],
  [0x46n, "SYNC"],
]);

/** VT-d §6.5.2: type in bits 11:9 and 3:0 of the first quadword. */
const VTD: ReadonlyMap<bigint, string> = new Map([
  [1n, "context"],
  [2n, "iotlb"],
  [3n, "device-tlb"],
  [4n, "interrupt-entry"],
  [5n, "wait"],
  [6n, "pasid-iotlb"],
  [7n, "pasid-cache"],
  [8n, "pasid-device-tlb"],
  [9n, "page-group-response"],
]);

/** AMD IOMMU specification §2.4: opcode in bits 63:60 of the first quadword. */
const AMD: ReadonlyMap<bigint, string> = new Map([
  [1n, "COMPLETION_WAIT"],
  [2n, "INVALIDATE_DEVTAB_ENTRY"],
  [3n, "INVALIDATE_IOMMU_PAGES"],
  [4n, "INVALIDATE_IOTLB_PAGES"],
  [5n, "INVALIDATE_INTERRUPT_TABLE"],
  [6n, "PREFETCH_IOMMU_PAGES"],
  [7n, "COMPLETE_PPR_REQUEST"],
  [8n, "INVALIDATE_IOMMU_ALL"],
]);

/** The opcode of a command by the first quadword of its encoding; unknown ones by number. */
export function opcodeOf(vendor: Vendor, low: bigint): Opcode {
  const code =
    vendor === "arm" ? low & 0xffn : vendor === "intel" ? (low & 0xfn) | ((low >> 5n) & 0x70n) : (low >> 60n) & 0xfn;
  const names = vendor === "arm" ? SMMU : vendor === "intel" ? VTD : AMD;
  return names.get(code) ?? `opcode 0x${code.toString(16)}`;
}

/** What ends an attach; at boot the return is not traced. A release attaches as well, and has no return of its own. */
const ENDS: ReadonlySet<string> = new Set([
  "__iommu_attach_device__ret",
  "attach_device_to_domain",
  "intel_iommu_release_device",
  "amd_iommu_release_device",
]);

/** The attaches of a phase and the commands of each, in order. Work of other tasks in between does not count. */
export function recordedCommands(recording: Recording, phase: Phase): readonly AttachCommands[] {
  const attaches: { device: string; opcodes: Opcode[] }[] = [];
  let open: { task: string; opcodes: Opcode[] } | undefined;
  for (const event of phase.events) {
    if (event.name === "__iommu_attach_device" || event.name === "iommu_deinit_device") {
      const attach = { device: deviceOf(event) ?? "", opcodes: [] };
      attaches.push(attach);
      open = { task: event.task, opcodes: attach.opcodes };
    } else if (ENDS.has(event.name)) {
      open = undefined;
    } else if (open !== undefined && event.task === open.task) {
      open.opcodes.push(...commandsOf(recording.vendor, event));
    }
  }
  return attaches;
}

/**
 * Of an SMMUv3 command list and of a VT-d batch only the first command and the count were traced. The kernel ends a
 * VT-d batch with a wait descriptor of its own, and a synchronous command list with a SYNC.
 */
function commandsOf(vendor: Vendor, event: RecordedEvent): Opcode[] {
  const argument = (name: string): bigint => BigInt(event.args.get(name) ?? "0");
  switch (event.name) {
    case "arm_smmu_cmdq_issue_cmdlist":
      return [
        opcodeOf(vendor, argument("cmds0")),
        ...rest(argument("n")),
        ...(argument("sync") === 0n ? [] : [opcodeOf(vendor, 0x46n)]),
      ];
    case "qi_submit_sync":
      return [opcodeOf(vendor, argument("desc0")), ...rest(argument("count")), opcodeOf(vendor, 5n)];
    case "__iommu_queue_command_sync":
      return [opcodeOf(vendor, argument("cmd0"))];
    default:
      return [];
  }
}

/** The commands of a batch behind its first. */
function rest(count: bigint): Opcode[] {
  return Array.from({ length: Math.max(0, Number(count) - 1) }, () => "any");
}

/** Whether two sequences are the same where the trace shows the opcode. */
export function sameOpcodes(recorded: readonly Opcode[], model: readonly Opcode[]): boolean {
  return (
    recorded.length === model.length && recorded.every((opcode, index) => opcode === "any" || opcode === model[index])
  );
}
