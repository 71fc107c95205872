import type { Layout, LayoutCodec, WordFields, Words } from "@iommu-lab/core";
import { newWords, setBits, wordCodec } from "@iommu-lab/core";
import { commandProblem } from "../hardware/command-check.ts";
import { commandName, commandOpcode, describeCommand, iotlbPasid } from "../layout/command-text.ts";
import { OPCODE } from "../layout/command.ts";
import { ALL_FEATURES } from "./all-features.ts";
import { numberOf, readFields, writeFields } from "./field-values.ts";

const DEVICE = { deviceId: [0, 15, 0] } as const;
/** S and the page of a range. */
const RANGE = { sizeCoded: [1, 0, 0], page: [1, 63, 12] } as const;

/** Fields by opcode, the PASID of INVALIDATE_IOTLB_PAGES aside. */
const LAYOUTS: Readonly<Record<number, Layout<string>>> = {
  [OPCODE.COMPLETION_WAIT]: {
    store: [0, 0, 0],
    interrupt: [0, 1, 1],
    flush: [0, 2, 2],
    address: [0, 51, 3, true],
    dataLow: [1, 31, 0],
    dataHigh: [1, 63, 32],
  },
  [OPCODE.INVALIDATE_DEVTAB_ENTRY]: DEVICE,
  [OPCODE.INVALIDATE_IOMMU_PAGES]: {
    pasid: [0, 19, 0],
    domainId: [0, 47, 32],
    directories: [1, 1, 1],
    guest: [1, 2, 2],
    ...RANGE,
  },
  [OPCODE.INVALIDATE_IOTLB_PAGES]: {
    ...DEVICE,
    maxPending: [0, 31, 24],
    queueId: [0, 47, 32],
    guest: [1, 2, 2],
    type: [1, 5, 4],
    ...RANGE,
  },
  [OPCODE.INVALIDATE_INTERRUPT_TABLE]: DEVICE,
  [OPCODE.PREFETCH_IOMMU_PAGES]: {
    ...DEVICE,
    count: [0, 31, 24],
    pasid: [0, 51, 32],
    guest: [1, 2, 2],
    invalidateFirst: [1, 4, 4],
    ...RANGE,
  },
  [OPCODE.COMPLETE_PPR_REQUEST]: {
    ...DEVICE,
    pasid: [0, 51, 32],
    guest: [1, 2, 2],
    tag: [1, 40, 32],
    code: [1, 47, 44],
  },
  [OPCODE.INVALIDATE_IOMMU_ALL]: {},
};

const codes: ReadonlyMap<string, number> = new Map(Object.entries(OPCODE));

function decode(words: Words): WordFields {
  const opcode = commandOpcode(words);
  const layout = LAYOUTS[opcode];
  if (layout === undefined) {
    return { opcode };
  }
  const pasid = opcode === OPCODE.INVALIDATE_IOTLB_PAGES ? { pasid: iotlbPasid(words) } : {};
  return { opcode: commandName(words), ...readFields(layout, words), ...pasid };
}

function encode(fields: WordFields): Words {
  const words = newWords(2);
  const name = fields["opcode"];
  const opcode = typeof name === "string" ? (codes.get(name) ?? 0) : numberOf(fields, "opcode");
  setBits(words, 63, 60, opcode);
  writeFields(LAYOUTS[opcode] ?? {}, words, fields);
  if (opcode === OPCODE.INVALIDATE_IOTLB_PAGES) {
    const pasid = numberOf(fields, "pasid");
    setBits(words, 23, 16, pasid >>> 8);
    setBits(words, 55, 48, pasid);
    setBits(words, 59, 56, pasid >>> 16);
  }
  return words;
}

/** What it does when nothing is wrong with it. */
const EFFECTS: Readonly<Record<number, string>> = {
  [OPCODE.COMPLETION_WAIT]: "It completes when everything before it has ended",
  [OPCODE.INVALIDATE_DEVTAB_ENTRY]: "The unit forgets the device table entry",
  [OPCODE.INVALIDATE_IOMMU_PAGES]: "The unit forgets translations",
  [OPCODE.INVALIDATE_IOTLB_PAGES]: "The unit sends an ATS Invalidate Request and waits for its completion",
  [OPCODE.INVALIDATE_INTERRUPT_TABLE]: "The unit forgets interrupt remapping entries",
  [OPCODE.PREFETCH_IOMMU_PAGES]: "The unit may fetch translations ahead",
  [OPCODE.COMPLETE_PPR_REQUEST]: "The unit sends a PRG Response",
  [OPCODE.INVALIDATE_IOMMU_ALL]: "The unit forgets all it keeps; devices keep theirs",
};

function meaning(words: Words): readonly string[] {
  const problem = commandProblem(words, { features: ALL_FEATURES, iotlbSup: true });
  if (problem !== "") {
    return [`ILLEGAL_COMMAND_ERROR: ${problem}. The command buffer stops with its head on it.`];
  }
  return [`${EFFECTS[commandOpcode(words)] ?? commandName(words)}: ${describeCommand(words)}.`];
}

/** Commands. */
export const commandCodec: LayoutCodec = wordCodec({
  kind: "amd-cmd",
  title: "AMD-Vi command",
  source: "AMD IOMMU specification §2.4",
  words: [2],
  example: "09300005000000100500000000000000",
  decode,
  encode,
  meaning,
});
