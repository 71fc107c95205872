import { ConfigSpace, endpointConfig, formatLspciDump, inspectFunction, parseLspciDump } from "@iommu-lab/pci";
import type { Bench } from "../measure.ts";

const nic: Uint8Array = endpointConfig({
  vendor: 0x8086,
  device: 0x1592,
  class: 0x020000,
  ats: { queueDepth: 32 },
  pasid: { width: 20 },
  pri: {},
  acs: { capability: 0x5f },
  sriov: { totalVfs: 64, vfDevice: 0x1889 },
});

function hex(value: number): string {
  return value.toString(16).padStart(2, "0");
}

/** The dump of a machine with `count` functions of 4096 bytes each. */
function dumpOf(count: number): string {
  return formatLspciDump(
    Array.from({ length: count }, (_, index) => {
      return { bdf: `0000:${hex(index >>> 8)}:${hex((index >>> 3) & 0x1f)}.${index & 7}`, bytes: nic };
    }),
  );
}

/** Reads dumps of one text again and again until `count` functions are decoded. */
function decode(text: string): (count: number) => number {
  return (count) => {
    let fields = 0;
    for (let done = 0; done < count;) {
      const { functions } = parseLspciDump(text);
      for (const { bdf, bytes } of functions) {
        fields += inspectFunction(bdf, bytes).capabilities.length;
      }
      done += functions.length;
    }
    return fields;
  };
}

const FUNCTIONS = 500;

/** A 500-function dump: a function from text to decoded capabilities, against looking at each of its characters once. */
export function dumpDecode(): Bench {
  const text = dumpOf(FUNCTIONS);
  const perFunction = Math.floor(text.length / FUNCTIONS);
  return {
    title: "function of a 500-function dump",
    count: FUNCTIONS,
    run: decode(text),
    baselineTitle: "a look at each character",
    baseline(count) {
      let sum = 0;
      for (let at = 0; at < count * perFunction; at += 1) {
        sum += text.charCodeAt(at % text.length);
      }
      return sum;
    },
  };
}

/** A ratio of 1 says that decoding is linear: a function costs the same in a large dump as in a small one. */
export function dumpLinear(): Bench {
  return {
    title: "function of a 500-function dump",
    count: FUNCTIONS,
    run: decode(dumpOf(FUNCTIONS)),
    baselineTitle: "function of a 50-function dump",
    baseline: decode(dumpOf(FUNCTIONS / 10)),
  };
}

/** A function of a new platform: config space forked from its description, and one write, against a copy of its bytes. */
export function configFork(): Bench {
  const image = new ConfigSpace(nic);
  return {
    title: "fork of 4096 bytes of config space, one write",
    run(count) {
      let sum = 0;
      for (let index = 0; index < count; index += 1) {
        const config = image.fork();
        config.write(4, 2, 6);
        sum += config.read16(4);
      }
      return sum;
    },
    baselineTitle: "copy of 4096 bytes",
    baseline(count) {
      let sum = 0;
      for (let index = 0; index < count; index += 1) {
        sum += nic.slice()[4] ?? 0;
      }
      return sum;
    },
  };
}
