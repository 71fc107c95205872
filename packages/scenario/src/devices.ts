import { InputError } from "@iommu-lab/core";
import { type Rid, endpointConfig, formatRid, parseLspciDump } from "@iommu-lab/pci";

/** A device that can be put on a stage. */
export interface DeviceUnderTest {
  /** Column name, such as `nic`. */
  readonly id: string;
  /** One line for readers. */
  readonly title: string;
  /** Where it sits; its bus is that of a root port unless it is integrated into the root complex (bus 0). */
  readonly rid: Rid;
  /** Its config space at power-on; a fresh copy each time. */
  config(): Uint8Array;
}

const RID_OF_BUILT_IN = 0x0100;

/** A network controller with ATS (Page Aligned Request), PRI, PASID (20 bits) and FLR. */
export const nic: DeviceUnderTest = {
  id: "nic",
  title: "network controller with ATS, PRI, PASID, FLR",
  rid: RID_OF_BUILT_IN,
  config: () =>
    endpointConfig({
      vendor: 0x1af4,
      device: 0x1041,
      class: 0x020000,
      flr: true,
      ats: { queueDepth: 32, pageAligned: true },
      pri: { capacity: 512, responsePasidRequired: true },
      pasid: { width: 20, exec: true, priv: true },
    }),
};

/** A CXL Type 2 accelerator: it reaches memory through CXL.cache, which needs ATS. */
export const accelerator: DeviceUnderTest = {
  id: "accelerator",
  title: "CXL Type 2 accelerator (CXL.cache): ATS-required",
  rid: RID_OF_BUILT_IN,
  config: () =>
    endpointConfig({
      vendor: 0x1e98,
      device: 0x0001,
      class: 0x120000,
      flr: true,
      ats: { queueDepth: 32, pageAligned: true },
      pri: { capacity: 512, responsePasidRequired: true },
      pasid: { width: 20, exec: true, priv: true },
      cxl: { cache: true, io: true, mem: true },
    }),
};

/**
 * Takes a function out of an `lspci -xxxx` dump.
 *
 * @param text the dump
 * @param file its name, for errors and for the column
 * @param bdf which function, such as `11:00.0`; may be left out when only one endpoint of the dump has ATS
 * @throws InputError when the dump is damaged, the function is missing, or the choice is open
 */
export function deviceFromDump(text: string, file: string, bdf?: string): DeviceUnderTest {
  const { functions } = parseLspciDump(text, file);
  const endpoints = functions.filter(({ bytes }) => ((bytes[0x0e] ?? 0) & 0x7f) === 0);
  const known = endpoints.map((one) => one.bdf).join(", ");
  let found = functions.length === 1 ? functions[0] : undefined;
  if (bdf !== undefined) {
    const wanted = parseBdf(bdf, file);
    found = functions.find((one) => parseBdf(one.bdf, file) === wanted);
    if (found === undefined) {
      throw new InputError(`no function ${bdf} in the dump; it has ${known}`, { file });
    }
  }
  if (found === undefined) {
    throw new InputError(`which function? write ${file}@BDF with one of ${known}`, { file });
  }
  if (((found.bytes[0x0e] ?? 0) & 0x7f) !== 0) {
    throw new InputError(`${found.bdf} is a bridge; expected an endpoint: ${known}`, { file });
  }
  const { bytes } = found;
  const rid = parseBdf(found.bdf, file);
  const name = file.split(/[/\\]/).at(-1) ?? file;
  return {
    id: `${name.replace(/\.(lspci-xxxx\.)?txt$/, "")}@${formatRid(rid)}`,
    title: `${formatRid(rid)} of ${name}`,
    rid,
    config: () => bytes.slice(),
  };
}

/** `[dddd:]bb:dd.f` as a requester ID; the domain is left aside. */
function parseBdf(text: string, file: string): Rid {
  const match = /^(?:[0-9a-f]{4,8}:)?([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])$/i.exec(text);
  const [, bus, device, fn] = match ?? [];
  if (bus === undefined || device === undefined || fn === undefined || Number.parseInt(device, 16) > 31) {
    throw new InputError(`${JSON.stringify(text)} is no bus:device.function, such as 11:00.0`, { file });
  }
  return (Number.parseInt(bus, 16) << 8) | (Number.parseInt(device, 16) << 3) | Number.parseInt(fn, 16);
}
