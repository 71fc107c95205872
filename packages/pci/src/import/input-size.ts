import { InputError } from "@iommu-lab/core";

/** The largest text or file that an importer takes: 64 MiB, some six thousand functions as `lspci -xxxx` prints them. */
const MOST = 64 * 1024 * 1024;

/** @throws InputError when an input is larger than any machine's would be */
export function expectInputSize(what: string, size: number, file: string | undefined): void {
  if (size > MOST) {
    throw new InputError(
      `${what} has ${size} characters, at most ${MOST} are read: split it by PCI domain or by bus`,
      file === undefined ? {} : { file },
    );
  }
}
