import { BOOT, MEMORY, MMIO, type Plugin, preempt, waitUntil } from "@iommu-lab/core";
import {
  VTD_UNIT,
  encodePasidEntry,
  encodePasidDirectoryEntry,
  encodeScalableContext,
  encodeContextEntry,
  encodeRootEntry,
  encodeScalableRootEntry,
} from "@iommu-lab/intel-vtd";
import { AT_UNTRANSLATED, NO_PASID } from "@iommu-lab/pci";
import { NIC } from "../driver/machine.ts";
import { GCMD, GLOBAL_SRTP, GLOBAL_TE, GSTS, RTADDR } from "../registers.ts";
import { EMPTY_PASID_ENTRY, PGTT_SECOND_STAGE } from "../../src/layout/pasid-entry.ts";

const BASE = 0xfed90000;
const SCALABLE = 0x400;
const READ_WRITE = 3;
/** 48 bits, 4 levels. */
const LEVELS = 4;

/**
 * Firmware that translates with tables of its own until the kernel takes over: caches then hold its entries, and
 * translations of some pages under every domain ID that the kernel will use first.
 */
export function leaveFirmwareTranslating(pages: readonly number[], scalable: boolean): Plugin {
  return {
    name: "firmware",
    register(host) {
      host.add(BOOT, {
        name: "firmware",
        order: 105,
        *run() {
          yield preempt;
          const memory = host.get(MEMORY);
          const mmio = host.get(MMIO);
          const take = (): number => memory.allocate(4096, 4096, "firmware", "tables");
          const store = (address: number, words: ArrayLike<number>): void => {
            for (let index = 0; index < words.length; index += 1) {
              memory.store32(address + index * 4, words[index] ?? 0);
            }
          };
          const [root, contexts, secret] = [take(), take(), take()];
          const tables = Array.from({ length: LEVELS }, take);
          for (let level = 0; level + 1 < LEVELS; level += 1) {
            memory.store64(tables[level] ?? 0, (tables[level + 1] ?? 0) + READ_WRITE, 0);
          }
          for (const page of pages) {
            memory.store64((tables[LEVELS - 1] ?? 0) + page * 8, secret + READ_WRITE, 0);
          }
          const top = tables[0] ?? 0;
          // Devices 0 to 7 of the bus, each under a domain ID of its own; the function under test is the first.
          for (let devfn = 0; devfn < 8; devfn += 1) {
            const domainId = devfn + 1;
            if (scalable) {
              const [directory, entries] = [take(), take()];
              store(directory, encodePasidDirectoryEntry({ present: true, faultDisable: false, table: entries }));
              store(
                entries,
                encodePasidEntry({
                  ...EMPTY_PASID_ENTRY,
                  present: true,
                  translationType: PGTT_SECOND_STAGE,
                  addressWidth: LEVELS - 2,
                  secondStageTable: top,
                  domainId,
                }),
              );
              store(
                contexts + devfn * 32,
                encodeScalableContext({
                  present: true,
                  faultDisable: false,
                  deviceTlbEnable: false,
                  pasidEnable: false,
                  pageRequestEnable: false,
                  translatedPasidEnable: false,
                  directorySize: 0,
                  pasidDirectory: directory,
                  ridPasid: 0,
                  ridPrivileged: false,
                }),
              );
            } else {
              store(
                contexts + devfn * 16,
                encodeContextEntry({
                  present: true,
                  faultDisable: false,
                  translationType: 0,
                  pageTable: top,
                  addressWidth: LEVELS - 2,
                  domainId,
                }),
              );
            }
          }
          store(
            root + (NIC >>> 8) * 16,
            scalable
              ? encodeScalableRootEntry({ lowPresent: true, lowTable: contexts, highPresent: false, highTable: 0 })
              : encodeRootEntry({ present: true, contextTable: contexts }),
          );
          mmio.write32(BASE + RTADDR, root + (scalable ? SCALABLE : 0));
          mmio.write32(BASE + RTADDR + 4, 0);
          for (const bit of [GLOBAL_SRTP, GLOBAL_TE]) {
            mmio.write32(BASE + GCMD, bit);
            yield* waitUntil({ name: `firmware GSTS ${bit}`, holds: () => (mmio.read32(BASE + GSTS) & bit) !== 0 });
          }
          const unit = host.get(VTD_UNIT);
          for (let devfn = 0; devfn < 8; devfn += 1) {
            for (const page of pages) {
              unit.translate(NIC + devfn, NO_PASID, page, 0, AT_UNTRANSLATED);
            }
          }
        },
      });
    },
  };
}
