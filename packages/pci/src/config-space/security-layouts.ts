import {
  type CapabilityLayout,
  type RegisterLayout,
  type RegisterReader,
  bit,
  field,
  register,
  whole,
} from "./register-layout.ts";

/** Data Object Exchange (PCIe 6.0 §7.9.24). The mailboxes are for the device: software's writes reach it as events. */
export const DOE_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 4, [
      bit("interruptSupport", 0, "RO", "can interrupt"),
      field("interruptMessageNumber", 11, 1, "RO", "which MSI or MSI-X vector"),
    ]),
    register("control", 8, 4, [
      bit("abort", 0, "W1", "drops what goes on"),
      bit("interruptEnable", 1, "RW", "interrupts on", { needs: { offset: 4, bit: 0 } }),
      bit("go", 31, "W1", "the data object is written: process it"),
    ]),
    register("status", 0xc, 4, [
      bit("busy", 0, "RO", "takes no data object now", { reset: 0 }),
      bit("interruptStatus", 1, "RW1C", "an interrupt was raised"),
      bit("error", 2, "RO", "the last data object failed; abort clears it", { reset: 0 }),
      bit("dataObjectReady", 31, "RO", "a data object can be read", { reset: 0 }),
    ]),
    whole("writeMailbox", 0x10, 4, "RO", "takes a data object, dword by dword"),
    whole("readMailbox", 0x14, 4, "RO", "gives a data object; a write takes the dword off"),
  ],
};

const streamTail = [
  field("txAggregationNpr", 3, 2, "RW", "aggregation of non-posted requests"),
  field("txAggregationPr", 5, 4, "RW", "aggregation of posted requests"),
  field("txAggregationCpl", 7, 6, "RW", "aggregation of completions"),
  bit("pcrcEnable", 8, "RW", "adds a plaintext CRC"),
] as const;

const streamHead = [
  field("partialHeaderEncryption", 13, 10, "RW", "how much of the header is encrypted"),
  field("algorithm", 18, 14, "RW", "0 AES-GCM with 256-bit key and 96-bit MAC"),
  field("trafficClass", 21, 19, "RW", "traffic class of the stream"),
] as const;

const streamStatus = [
  field("state", 3, 0, "RO", "0 insecure, 2 secure", { reset: 0 }),
  bit("failReceived", 31, "RW1C", "the other end says that a check failed"),
] as const;

/** Link stream blocks, then selective stream blocks, as many as the capability says (PCIe 6.0 §7.9.26.4, §7.9.26.5). */
function* ideStreams(config: RegisterReader, at: number): Generator<RegisterLayout> {
  const capability = config.read32(at + 4);
  const links = (capability & 1) === 0 ? 0 : ((capability >>> 13) & 7) + 1;
  const selectives = (capability & 2) === 0 ? 0 : ((capability >>> 16) & 0xff) + 1;
  let offset = 0xc;
  for (let index = 0; index < links; index += 1) {
    yield register(`link${index}.control`, offset, 4, [
      bit("enable", 0, "RW", "the stream is in use"),
      ...streamTail,
      ...streamHead,
      field("streamId", 31, 24, "RW", "id of the stream"),
    ]);
    yield register(`link${index}.status`, offset + 4, 4, streamStatus);
    offset += 8;
  }
  for (let index = 0; index < selectives && at + offset < config.size; index += 1) {
    const name = `selective${index}`;
    yield register(`${name}.capability`, offset, 4, [
      field("addressBlocks", 3, 0, "HwInit", "address association blocks"),
    ]);
    yield register(`${name}.control`, offset + 4, 4, [
      bit("enable", 0, "RW", "the stream is in use"),
      ...streamTail,
      bit("configEnable", 9, "RW", "config requests use the stream"),
      ...streamHead,
      bit("defaultStream", 22, "RW", "also what no association matches"),
      bit("teeLimited", 23, "RW", "only requests of TEE device interfaces"),
      field("streamId", 31, 24, "RW", "id of the stream"),
    ]);
    yield register(`${name}.status`, offset + 8, 4, streamStatus);
    yield register(`${name}.ridAssociation1`, offset + 0xc, 4, [
      field("limit", 23, 8, "RW", "last requester id of the other end"),
    ]);
    yield register(`${name}.ridAssociation2`, offset + 0x10, 4, [
      bit("valid", 0, "RW", "the requester ids are valid"),
      field("base", 23, 8, "RW", "first requester id of the other end"),
      field("segment", 31, 24, "RW", "its segment"),
    ]);
    const blocks = config.read8(at + offset) & 0xf;
    for (let block = 0; block < blocks; block += 1) {
      const from = offset + 20 + 12 * block;
      yield register(`${name}.address${block}.association1`, from, 4, [
        bit("valid", 0, "RW", "the range is valid"),
        field("baseLow", 19, 8, "RW", "first address, bits 31:20"),
        field("limitLow", 31, 20, "RW", "last address, bits 31:20"),
      ]);
      yield whole(`${name}.address${block}.limitHigh`, from + 4, 4, "RW", "last address, bits 63:32");
      yield whole(`${name}.address${block}.baseHigh`, from + 8, 4, "RW", "first address, bits 63:32");
    }
    offset += 20 + 12 * blocks;
  }
}

/** Integrity and Data Encryption (PCIe 6.0 §7.9.26). */
export const IDE_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 4, [
      bit("linkStream", 0, "HwInit", "has link streams"),
      bit("selectiveStreams", 1, "HwInit", "has selective streams"),
      bit("flowThrough", 2, "HwInit", "passes selective streams through (switches)"),
      bit("partialHeaderEncryption", 3, "HwInit", "can encrypt headers in part"),
      bit("aggregation", 4, "HwInit", "one MAC for several TLPs"),
      bit("pcrc", 5, "HwInit", "can add a plaintext CRC"),
      bit("ideKm", 6, "HwInit", "keys by the IDE_KM protocol"),
      bit("selectiveForConfig", 7, "HwInit", "config requests can use a selective stream"),
      field("algorithms", 12, 8, "HwInit", "0 AES-GCM with 256-bit key and 96-bit MAC"),
      field("linkTcsMinus1", 15, 13, "HwInit", "traffic classes of link streams, less 1"),
      field("selectiveStreamsMinus1", 23, 16, "HwInit", "selective streams, less 1"),
      bit("teeLimitedStream", 24, "HwInit", "a stream can be limited to TEE device interfaces"),
      bit("xt", 25, "HwInit", "has the XT bit"),
    ]),
    register("control", 8, 4, [
      bit("flowThroughEnable", 2, "RW", "passes selective streams through", { needs: { offset: 4, bit: 2 } }),
    ]),
  ],
  repeated: ideStreams,
};

/** Device 3 (PCIe 6.0 §7.7.9). */
export const DEVICE3_LAYOUT: CapabilityLayout = {
  registers: [
    register("capabilities", 4, 4, [
      bit("dmwrRequestRouting", 0, "HwInit", "routes Deferrable Memory Writes"),
      bit("fourteenBitTagCompleter", 1, "HwInit", "accepts 14-bit tags"),
      bit("fourteenBitTagRequester", 2, "HwInit", "can send 14-bit tags"),
      bit("l0p", 3, "HwInit", "can do L0p"),
      field("l0pExitLatency", 6, 4, "HwInit", "time out of L0p, coded"),
      field("retimerL0pExitLatency", 9, 7, "HwInit", "the same for retimers"),
    ]),
    register("control", 8, 4, [
      bit("dmwrRequester", 0, "RW", "may send Deferrable Memory Writes"),
      bit("dmwrEgressBlocking", 1, "RW", "they do not leave here"),
      bit("fourteenBitTagRequester", 2, "RW", "sends 14-bit tags", { needs: { offset: 4, bit: 2 } }),
      bit("l0pEnable", 3, "RW", "L0p on", { needs: { offset: 4, bit: 3 } }),
      field("targetLinkWidth", 6, 4, "RW", "width wanted"),
    ]),
    register("status", 0xc, 4, [
      field("initialLinkWidth", 2, 0, "RO", "width after training"),
      bit("segmentCaptured", 3, "RO", "knows its segment: flit mode end to end"),
      bit("remoteL0pSupported", 4, "RO", "the other end can do L0p"),
    ]),
  ],
};
