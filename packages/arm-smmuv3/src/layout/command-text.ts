import { getField, hex } from "@iommu-lab/core";
import { ATC_SIZE_ALL, COMMAND, OPCODE, RANGE_ALL } from "./command.ts";

/** One operand in a reader's words; `""` = nothing to say. */
type Operand = (words: ArrayLike<number>) => string;

const NAMES: ReadonlyMap<number, string> = new Map(Object.entries(OPCODE).map(([name, code]) => [code, name]));

const sid: Operand = (words) => `SID=${hex(getField(words, COMMAND.sid))}`;
const ssid: Operand = (words) => `SSID=${getField(words, COMMAND.ssid)}`;
const vmid: Operand = (words) => `VMID=${getField(words, COMMAND.vmid)}`;
const asid: Operand = (words) => `ASID=${getField(words, COMMAND.asid)}`;
const leaf: Operand = (words) => (getField(words, COMMAND.leaf) === 1 ? "leaf" : "");
const substream: Operand = (words) => (getField(words, COMMAND.ssv) === 1 ? ssid(words) : "");
const streams: Operand = (words) =>
  getField(words, COMMAND.range) === RANGE_ALL ? "" : `${sid(words)} Range=${getField(words, COMMAND.range)}`;

const atcSpan: Operand = (words) => {
  const size = getField(words, COMMAND.size);
  return size >= ATC_SIZE_ALL ? "all" : `page ${hex(getField(words, COMMAND.page))} 2^${size} pages`;
};

const pages: Operand = (words) => {
  const page = `page ${hex(getField(words, COMMAND.page))}`;
  const granule = [0, 12, 14, 16][getField(words, COMMAND.tg)] ?? 0;
  if (granule === 0) {
    return page;
  }
  const count = (getField(words, COMMAND.num) + 1) * 2 ** getField(words, COMMAND.scale);
  return `${page} ${count} granules of ${2 ** (granule - 10)} KiB`;
};

const response: Operand = (words) =>
  `PRG=${getField(words, COMMAND.prgIndex)} ${["failure", "invalid", "success", "reserved"][getField(words, COMMAND.resp)]}`;

const OPERANDS: ReadonlyMap<number, readonly Operand[]> = new Map([
  [OPCODE.PREFETCH_CONFIG, [sid]],
  [OPCODE.PREFETCH_ADDR, [sid, pages]],
  [OPCODE.CFGI_STE, [sid, leaf]],
  [OPCODE.CFGI_STE_RANGE, [streams]],
  [OPCODE.CFGI_CD, [sid, ssid, leaf]],
  [OPCODE.CFGI_CD_ALL, [sid]],
  [OPCODE.TLBI_NH_ALL, [vmid]],
  [OPCODE.TLBI_NH_ASID, [asid]],
  [OPCODE.TLBI_NH_VA, [asid, pages, leaf]],
  [OPCODE.TLBI_NH_VAA, [pages, leaf]],
  [OPCODE.TLBI_EL2_ASID, [asid]],
  [OPCODE.TLBI_EL2_VA, [asid, pages, leaf]],
  [OPCODE.TLBI_EL2_VAA, [pages, leaf]],
  [OPCODE.TLBI_S12_VMALL, [vmid]],
  [OPCODE.TLBI_S2_IPA, [vmid, pages, leaf]],
  [OPCODE.ATC_INV, [sid, substream, atcSpan]],
  [OPCODE.PRI_RESP, [sid, substream, response]],
  [OPCODE.RESUME, [sid]],
  [OPCODE.STALL_TERM, [sid]],
]);

/** The command's name as the specification gives it, without `CMD_`; unknown ones by number. */
export function commandName(words: ArrayLike<number>): string {
  const opcode = getField(words, COMMAND.opcode);
  if (opcode === OPCODE.CFGI_STE_RANGE && getField(words, COMMAND.range) === RANGE_ALL) {
    return "CFGI_ALL";
  }
  return NAMES.get(opcode) ?? `opcode 0x${opcode.toString(16)}`;
}

/** The command in a reader's words, such as `ATC_INV SID=0x100 all`. */
export function describeCommand(words: ArrayLike<number>): string {
  const operands = OPERANDS.get(getField(words, COMMAND.opcode)) ?? [];
  return [commandName(words), ...operands.map((one) => one(words)).filter((text) => text !== "")].join(" ");
}
