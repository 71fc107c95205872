import type { Words } from "./words.ts";
import { encodeFields } from "./words.ts";

/** Size of a command in bytes. */
export const COMMAND_BYTES = 16;

/** Opcodes. Source: SMMUv3 §4.1.3. */
export const OPCODE = {
  PREFETCH_CONFIG: 0x01,
  PREFETCH_ADDR: 0x02,
  CFGI_STE: 0x03,
  CFGI_STE_RANGE: 0x04,
  CFGI_CD: 0x05,
  CFGI_CD_ALL: 0x06,
  TLBI_NH_ALL: 0x10,
  TLBI_NH_ASID: 0x11,
  TLBI_NH_VA: 0x12,
  TLBI_NH_VAA: 0x13,
  TLBI_EL2_ALL: 0x20,
  TLBI_EL2_ASID: 0x21,
  TLBI_EL2_VA: 0x22,
  TLBI_EL2_VAA: 0x23,
  TLBI_S12_VMALL: 0x28,
  TLBI_S2_IPA: 0x2a,
  TLBI_NSNH_ALL: 0x30,
  ATC_INV: 0x40,
  PRI_RESP: 0x41,
  RESUME: 0x44,
  STALL_TERM: 0x45,
  SYNC: 0x46,
} as const;

/** Fields of commands; which ones a command has depends on its opcode. Source: SMMUv3 §4. */
export const COMMAND = {
  opcode: [0, 7, 0],
  global: [0, 9, 9],
  ssec: [0, 10, 10],
  ssv: [0, 11, 11],
  ssid: [0, 31, 12],
  sid: [0, 63, 32],
  num: [0, 16, 12],
  scale: [0, 24, 20],
  vmid: [0, 47, 32],
  asid: [0, 63, 48],
  cs: [0, 13, 12],
  msh: [0, 23, 22],
  msiAttr: [0, 27, 24],
  msiData: [0, 63, 32],
  leaf: [1, 0, 0],
  range: [1, 4, 0],
  size: [1, 5, 0],
  prgIndex: [1, 8, 0],
  ttl: [1, 9, 8],
  tg: [1, 11, 10],
  resp: [1, 13, 12],
  page: [1, 63, 12],
  msiAddress: [1, 55, 2, true],
} as const;

/** A field of {@link COMMAND}. */
export type CommandField = keyof typeof COMMAND;

/** Range of CFGI_STE_RANGE that means all streams (CFGI_ALL). */
export const RANGE_ALL = 31;

/** Size of ATC_INV that means everything: 2^52 pages. */
export const ATC_SIZE_ALL = 52;

/** SYNC.CS: how completion is told. */
export const SYNC_SIGNAL = { none: 0, irq: 1, sev: 2 } as const;

/** PRI_RESP.Resp. */
export const PRI_RESPONSE = { failure: 0, invalid: 1, success: 2 } as const;

const INNER_SHAREABLE = 3;
const WRITE_BACK = 0xf;

/** Builds a command. Fields left out are zero. */
export function encodeCommand(
  opcode: keyof typeof OPCODE,
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
