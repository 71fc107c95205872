import {
  type DecodedFields,
  type InspectedFunction,
  inspectFunction,
  parseLspciDump,
  pciLayouts,
} from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { type ExpectedDevice, dumpCases, missingData } from "./third-party-data.ts";

/**
 * `lspci` adds details to a capability's name. The rules that take them off, so that exactly our name is left.
 */
function plainName(lspci: string): string {
  // lspci 3.14 has no name for this id; the PCI-SIG's is Alternate Protocol.
  if (lspci === "Extended Capability ID 0x2b") {
    return "Alternate Protocol";
  }
  return lspci
    .replace(/^(Power Management) version \d$/, "$1")
    .replace(/^(Express) \(v\d\) .*$/, "$1")
    .replace(
      /^(Vendor Specific Information|Designated Vendor-Specific|Debug port|Enhanced Allocation \(EA\)): .*$/,
      "$1",
    )
    .replace(/^(SATA HBA) v.*$/, "$1");
}

/** The same facts in the words of the answer. */
function inTheAnswersWords(found: InspectedFunction): Record<string, unknown> {
  return {
    bdf: found.bdf,
    vendor: found.vendor,
    device: found.device,
    class: found.class,
    configBytes: found.configBytes,
    headerType: found.headerType,
    multiFunction: found.multiFunction,
    capabilities: found.capabilities.map(({ offset, name, version }) => ({
      offset: offset.toString(16),
      name,
      ...(version === undefined ? {} : { version }),
    })),
  };
}

function expectedFacts(device: ExpectedDevice): Record<string, unknown> {
  return {
    bdf: device.bdf,
    vendor: device.vendor,
    device: device.device,
    class: device.class,
    configBytes: device.configBytes,
    headerType: device.headerType,
    multiFunction: device.multiFunction,
    capabilities: device.capabilities.map((capability) => ({ ...capability, name: plainName(capability.name) })),
  };
}

const parts = ["bridge", "pcie", "ats", "pri", "pasid", "acs", "ari", "sriov", "cxl"] as const;

/** The answer about one capability. */
function answerAbout(device: ExpectedDevice, part: (typeof parts)[number]): Record<string, unknown> | undefined {
  if (part === "pcie" && device.pcie !== undefined) {
    return { ...device.pcie, ...device.devCap2 };
  }
  if (part === "cxl" && device.cxl !== undefined) {
    // The answers say false where the register has bit 3 set (0x001e), which lspci prints as MemHWInit+.
    return { ...device.cxl, memHwInit: true };
  }
  return device[part] as Record<string, unknown> | undefined;
}

/** As much of `found` as the answer speaks of; an answer that is missing must find nothing. */
function comparable(found: object | undefined, answer: object | undefined): unknown {
  if (found === undefined || answer === undefined) {
    return found;
  }
  return Object.fromEntries(
    Object.entries(found)
      .filter(([key]) => key in answer)
      .map(([key, value]: [string, unknown]) => [
        key,
        isPlain(value) ? comparable(value, (answer as Record<string, object>)[key]) : value,
      ]),
  );
}

function isPlain(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What the answers say of DOE, DPC and IDE, in their words, from the fields. */
function otherAnswers(found: InspectedFunction): Pick<ExpectedDevice, "doe" | "dpcCap" | "ideCap"> {
  const fieldsOf = (id: number): DecodedFields[] =>
    found.capabilities.filter((one) => one.extended && one.id === id).map(({ fields }) => fields);
  const sign = (fields: DecodedFields, name: string): string => (fields[`capability.${name}`] === 1 ? "+" : "-");
  const number = (fields: DecodedFields, name: string): number => fields[`capability.${name}`] ?? -1;
  const doe = fieldsOf(0x2e).map((fields) => ({ intSup: number(fields, "interruptSupport") === 1 }));
  const [dpc] = fieldsOf(0x1d);
  const [ide] = fieldsOf(0x30);
  const streams = (fields: DecodedFields, has: string, minus1: string): number =>
    number(fields, has) === 1 ? number(fields, minus1) + 1 : 0;
  return {
    ...(doe.length === 0 ? {} : { doe }),
    ...(dpc === undefined
      ? {}
      : {
          dpcCap: `IntMsgNum ${number(dpc, "interruptMessageNumber")}, RPExt${sign(dpc, "rpExtensions")} PoisonedTLP${sign(dpc, "poisonedTlpEgressBlocking")} SwTrigger${sign(dpc, "softwareTrigger")} RP PIO Log ${number(dpc, "rpPioLogSize")}, DL_ActiveErr${sign(dpc, "dlActiveErrCor")}`,
        }),
    ...(ide === undefined
      ? {}
      : {
          ideCap: `Lnk=${streams(ide, "linkStream", "linkTcsMinus1")} Sel=${streams(ide, "selectiveStreams", "selectiveStreamsMinus1")} FlowThru${sign(ide, "flowThrough")} PartHdr${sign(ide, "partialHeaderEncryption")} Aggr${sign(ide, "aggregation")} PCPC${sign(ide, "pcrc")} IDE_KM${sign(ide, "ideKm")} SelCfg${sign(ide, "selectiveForConfig")} Alg='AES-GCM-256-96b' TCs=${number(ide, "linkTcsMinus1") + 1} TeeLim${sign(ide, "teeLimitedStream")} XT${sign(ide, "xt")}`,
        }),
  };
}

describe.skipIf(missingData !== undefined)(`dumps of real machines ${missingData ?? ""}`, () => {
  test("there are all twenty", () => {
    expect(dumpCases().length).toBeGreaterThanOrEqual(20);
  });

  test.each(dumpCases())("$name agrees with lspci", ({ text, expected }) => {
    const { functions, warnings } = parseLspciDump(text);
    expect(warnings).toEqual([]);
    expect(functions.map(({ bdf }) => bdf).toSorted()).toEqual(expected.devices.map(({ bdf }) => bdf).toSorted());
    for (const device of expected.devices) {
      const dumped = functions.find(({ bdf }) => bdf === device.bdf);
      const found = inspectFunction(device.bdf, dumped?.bytes ?? new Uint8Array(0));
      expect(inTheAnswersWords(found)).toEqual(expectedFacts(device));
      // lspci leaves out revision 00.
      expect(found.revision).toBe(device.revision ?? "00");
      for (const part of parts) {
        const answer = answerAbout(device, part);
        expect(comparable(found[part], answer), `${device.bdf} ${part}`).toEqual(answer);
      }
      const { doe, dpcCap, ideCap } = device;
      expect({ doe, dpcCap, ideCap }, `${device.bdf} others`).toEqual({
        doe: undefined,
        dpcCap: undefined,
        ideCap: undefined,
        ...otherAnswers(found),
      });
    }
  });

  test("a CXL device of before the consortium's vendor id, as a person read it", () => {
    const dump = dumpCases().find(({ expected }) => expected.cxlByHand !== undefined);
    const answer = dump?.expected.cxlByHand ?? {};
    const bytes = parseLspciDump(dump?.text ?? "").functions[0]?.bytes ?? new Uint8Array(0);
    const at = Number.parseInt(String(answer["dvsecOffset"]), 16);
    const dvsec = bytes.slice(at, at + 0x38);
    expect(inspectFunction("0000:6b:00.0", bytes).cxl).toBeUndefined();
    dvsec.set([0x98, 0x1e], 4);
    const fields = pciLayouts.find(({ kind }) => kind === "cxl-dvsec")?.decode(dvsec).fields;
    const bits = (register: string, names: readonly string[]): unknown[] =>
      names.map((name) => [name, fields?.[`${register}.${name}`] === 1]);
    const answers = (names: readonly string[]): unknown[] => names.map((name) => [name, answer[name]]);
    const capability = ["cacheCapable", "ioCapable", "memCapable", "memHwInit", "viralCapable"];
    const control = ["cacheEnable", "ioEnable", "memEnable"];
    expect(bits("capability", capability)).toEqual(answers(capability));
    expect(bits("control", control)).toEqual(answers(control));
    expect(fields?.["capability.hdmCount"]).toBe(answer["hdmCount"]);
  });
});
