import { type Words, encodeFields } from "@iommu-lab/core";

/** Size of a command in bytes. */
export const COMMAND_BYTES = 16;

/** Opcodes. Source: SMMUv3 §4.1.3. */
export const OPCODE = {
  /** Hint: configuration of a stream. */
  PREFETCH_CONFIG: 0x01,
  /** Hint: translations of a stream. */
  PREFETCH_ADDR: 0x02,
  /** Drops a stream table entry and what hangs below it. */
  CFGI_STE: 0x03,
  /** The same for 2^(Range+1) streams. */
  CFGI_STE_RANGE: 0x04,
  /** Drops a context descriptor. */
  CFGI_CD: 0x05,
  /** Drops all context descriptors of a stream. */
  CFGI_CD_ALL: 0x06,
  /** Drops stage-1 translations of a VMID at EL1. */
  TLBI_NH_ALL: 0x10,
  /** Drops those of an ASID. */
  TLBI_NH_ASID: 0x11,
  /** Drops those of an ASID and an address. */
  TLBI_NH_VA: 0x12,
  /** Drops those of an address, whatever the ASID. */
  TLBI_NH_VAA: 0x13,
  /** Drops all translations at EL2. */
  TLBI_EL2_ALL: 0x20,
  /** Drops those of an ASID. */
  TLBI_EL2_ASID: 0x21,
  /** Drops those of an ASID and an address. */
  TLBI_EL2_VA: 0x22,
  /** Drops those of an address, whatever the ASID. */
  TLBI_EL2_VAA: 0x23,
  /** Drops all translations of a VMID, of both stages. */
  TLBI_S12_VMALL: 0x28,
  /** Drops those of stage 2 of an address. */
  TLBI_S2_IPA: 0x2a,
  /** Drops all translations that are not of EL2. */
  TLBI_NSNH_ALL: 0x30,
  /** Sends an Invalidate Request to a function. */
  ATC_INV: 0x40,
  /** Answers a group of page requests. */
  PRI_RESP: 0x41,
  /** Retries or ends a stalled transaction. */
  RESUME: 0x44,
  /** Ends all stalled transactions of a stream. */
  STALL_TERM: 0x45,
  /** Waits for all commands before it. */
  SYNC: 0x46,
} as const;

/** Fields of commands; which ones a command has depends on its opcode. Source: SMMUv3 §4. */
export const COMMAND = {
  /** One of {@link OPCODE}. */
  opcode: [0, 7, 0],
  /** ATC_INV reaches all PASIDs of the function. */
  global: [0, 9, 9],
  /** The stream is a Secure one. */
  ssec: [0, 10, 10],
  /** SSID counts. */
  ssv: [0, 11, 11],
  /** SubstreamID. */
  ssid: [0, 31, 12],
  /** StreamID. */
  sid: [0, 63, 32],
  /** Range: how many times 2^Scale granules, minus 1. */
  num: [0, 16, 12],
  /** Range: log2 of the step. */
  scale: [0, 24, 20],
  /** Virtual machine. */
  vmid: [0, 47, 32],
  /** Address space. */
  asid: [0, 63, 48],
  /** One of {@link SYNC_SIGNAL}. */
  cs: [0, 13, 12],
  /** Shareability of the message of SYNC. */
  msh: [0, 23, 22],
  /** Memory type of the message. */
  msiAttr: [0, 27, 24],
  /** What the message writes. */
  msiData: [0, 63, 32],
  /** The last level alone changed. */
  leaf: [1, 0, 0],
  /** Of RESUME: the transaction is retried. */
  ac: [0, 12, 12],
  /** Of RESUME without Ac: it aborts; else reads give zero and writes are ignored. */
  ab: [0, 13, 13],
  /** Of RESUME: the stalled transaction. */
  stag: [1, 15, 0],
  /** Log2 of the number of streams, minus 1; {@link RANGE_ALL} = all. */
  range: [1, 4, 0],
  /** Log2 of the number of 4 KiB pages; {@link ATC_SIZE_ALL} = all. */
  size: [1, 5, 0],
  /** Page request group. */
  prgIndex: [1, 8, 0],
  /** Range: level of the leaf entries; 0 = any. */
  ttl: [1, 9, 8],
  /** Range: granule; 0 = no range. */
  tg: [1, 11, 10],
  /** One of {@link PRI_RESPONSE}. */
  resp: [1, 13, 12],
  /** Address / 4096. */
  page: [1, 63, 12],
  /** Where the message goes. */
  msiAddress: [1, 55, 2, true],
} as const;

/** A field of {@link COMMAND}. */
export type CommandField = keyof typeof COMMAND;

/** Range of CFGI_STE_RANGE that means all streams (CFGI_ALL). */
export const RANGE_ALL = 31;

/** Size of ATC_INV that means everything: 2^52 pages. */
export const ATC_SIZE_ALL = 52;

/** SYNC.CS: how completion is told. */
export const SYNC_SIGNAL = {
  /** By the consumer index alone. */
  none: 0,
  /** By a message or an interrupt. */
  irq: 1,
  /** By an event of the CPUs. */
  sev: 2,
} as const;

/** PRI_RESP.Resp. */
export const PRI_RESPONSE = {
  /** Nothing more of this function is wanted. */
  failure: 0,
  /** Some pages cannot be had. */
  invalid: 1,
  /** All pages are there. */
  success: 2,
} as const;

const INNER_SHAREABLE = 3;
const WRITE_BACK = 0xf;

/** The name of a command. */
export type CommandName = keyof typeof OPCODE;

/** Builds a command. Fields left out are zero. */
export function encodeCommand(
  opcode: CommandName,
  fields: Readonly<Partial<Record<CommandField, number>>> = {},
): Words {
  return encodeFields<CommandField>(COMMAND, 2, { opcode: OPCODE[opcode], ...fields });
}

/** CFGI_STE: drops an STE and the context descriptors below it; without `leaf` its level-1 descriptor too. */
export function cmdCfgiSte(sid: number, leaf: boolean): Words {
  return encodeCommand("CFGI_STE", { sid, leaf: leaf ? 1 : 0 });
}

/** CFGI_ALL: all configuration. */
export function cmdCfgiAll(): Words {
  return encodeCommand("CFGI_STE_RANGE", { range: RANGE_ALL });
}

/** CFGI_CD: drops a context descriptor; without `leaf` its level-1 descriptor too. */
export function cmdCfgiCd(sid: number, ssid: number, leaf: boolean): Words {
  return encodeCommand("CFGI_CD", { sid, ssid, leaf: leaf ? 1 : 0 });
}

/** PREFETCH_CONFIG: a hint. */
export function cmdPrefetchConfig(sid: number): Words {
  return encodeCommand("PREFETCH_CONFIG", { sid });
}

/** ATC_INV of 2^log2Pages pages. @param ssid undefined = without PASID */
export function cmdAtcInv(sid: number, ssid: number | undefined, page: number, log2Pages: number): Words {
  const substream = ssid === undefined ? {} : { ssv: 1, ssid };
  return encodeCommand("ATC_INV", { sid, ...substream, page, size: log2Pages });
}

/** SYNC. @param msiAddress where the message goes, with CS = IRQ */
export function cmdSync(signal: number, msiAddress: number = 0): Words {
  return encodeCommand("SYNC", { cs: signal, msh: INNER_SHAREABLE, msiAttr: WRITE_BACK, msiAddress });
}

/** PRI_RESP. @param response one of {@link PRI_RESPONSE} */
export function cmdPriResp(sid: number, ssid: number | undefined, prgIndex: number, response: number): Words {
  const substream = ssid === undefined ? {} : { ssv: 1, ssid };
  return encodeCommand("PRI_RESP", { sid, ...substream, prgIndex, resp: response });
}
