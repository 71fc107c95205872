import { type LayoutCodec, type WordFields, type Words, getField, wordCodec } from "@iommu-lab/core";
import { isIllegal } from "../hardware/command-check.ts";
import { describeCommand } from "../layout/command-text.ts";
import { COMMAND, type CommandField, OPCODE } from "../layout/command.ts";
import { everyFeature } from "./every-feature.ts";
import { decodeNamed, encodeNamed } from "./known-fields.ts";

const RANGE = ["num", "scale", "leaf", "ttl", "tg", "page"] as const;
const SUBSTREAM = ["ssv", "ssid", "sid"] as const;

/** Fields besides `opcode` and `ssec`, and what the command does. */
const COMMANDS: ReadonlyMap<number, readonly [fields: readonly CommandField[], effect: string]> = new Map([
  [OPCODE.PREFETCH_CONFIG, [SUBSTREAM, "A hint to read the stream's configuration; it never records a fault."]],
  [OPCODE.PREFETCH_ADDR, [[...SUBSTREAM, "size", "page"], "A hint to translate; it never records a fault."]],
  [OPCODE.CFGI_STE, [["sid", "leaf"], "The stream's cached STE and all its cached context descriptors go."]],
  [OPCODE.CFGI_STE_RANGE, [["sid", "range"], "The cached STEs of 2^(Range+1) streams go, with what is below them."]],
  [OPCODE.CFGI_CD, [["ssid", "sid", "leaf"], "One cached context descriptor goes."]],
  [OPCODE.CFGI_CD_ALL, [["sid"], "All cached context descriptors of the stream go."]],
  [OPCODE.TLBI_NH_ALL, [["vmid"], "All stage-1 and nested translations of the VMID go."]],
  [OPCODE.TLBI_NH_ASID, [["vmid", "asid"], "Translations of the ASID go, but not global ones."]],
  [
    OPCODE.TLBI_NH_VA,
    [["vmid", "asid", ...RANGE], "Translations of the range go: those of the ASID, and global ones."],
  ],
  [OPCODE.TLBI_NH_VAA, [["vmid", ...RANGE], "Translations of the range go, whatever their ASID."]],
  [OPCODE.TLBI_EL2_ALL, [[], "All translations of EL2 go."]],
  [OPCODE.TLBI_EL2_ASID, [["asid"], "EL2 translations of the ASID go, but not global ones."]],
  [OPCODE.TLBI_EL2_VA, [["asid", ...RANGE], "EL2 translations of the range go: those of the ASID, and global ones."]],
  [OPCODE.TLBI_EL2_VAA, [RANGE, "EL2 translations of the range go, whatever their ASID."]],
  [OPCODE.TLBI_S12_VMALL, [["vmid"], "All translations of the VMID go, of both stages."]],
  [
    OPCODE.TLBI_S2_IPA,
    [["vmid", ...RANGE], "Stage-2 translations of the range go; those of both stages in one may stay."],
  ],
  [OPCODE.TLBI_NSNH_ALL, [[], "All translations that are not of EL2 go."]],
  [
    OPCODE.ATC_INV,
    [
      ["global", ...SUBSTREAM, "size", "page"],
      "An Invalidate Request goes to the function; only a later SYNC waits for it.",
    ],
  ],
  [OPCODE.PRI_RESP, [[...SUBSTREAM, "prgIndex", "resp"], "A page request group is answered."]],
  [OPCODE.RESUME, [["ac", "ab", "sid", "stag"], "A stalled transaction is retried or ended."]],
  [OPCODE.STALL_TERM, [["sid"], "All stalled transactions of the stream end."]],
  [
    OPCODE.SYNC,
    [["cs", "msh", "msiAttr", "msiData", "msiAddress"], "Completes when everything before it has completed."],
  ],
]);

function decode(words: Words): WordFields {
  const [names] = COMMANDS.get(getField(words, COMMAND.opcode)) ?? [[]];
  return decodeNamed(COMMAND, ["opcode", "ssec", ...names], words);
}

function meaning(words: Words): readonly string[] {
  const first = `${describeCommand(words)}.`;
  if (isIllegal(words, everyFeature)) {
    return [first, "CERROR_ILL: the queue stops here until software acknowledges the error."];
  }
  const [, effect = ""] = COMMANDS.get(getField(words, COMMAND.opcode)) ?? [];
  return [first, effect];
}

/** Commands. */
export const commandCodec: LayoutCodec = wordCodec({
  kind: "smmu-cmd",
  title: "SMMUv3 command",
  source: "SMMUv3 §4",
  words: [2],
  example: "40000000000100000200000000000000",
  decode,
  encode: (fields) => encodeNamed(COMMAND, 2, fields),
  meaning,
});
