import { AMD_IOMMUS, DTE_BYTES, EMPTY_DTE, amdV1, encodeDte } from "@iommu-lab/amd-vi";
import { BOOT, MEMORY, MMIO, PageTable, type Plugin, preempt } from "@iommu-lab/core";
import { AT_UNTRANSLATED, NO_PASID } from "@iommu-lab/pci";
import { BASE, RW } from "../driver/lab.ts";
import { CONTROL, CONTROL_BIT, DEVICE_TABLE_BASE } from "../registers.ts";

/** Requester IDs that firmware's device table has. */
const ENTRIES = 0x400;

/**
 * Firmware that translates with a table of its own until the kernel takes over, each requester ID under a domain ID of its
 * own, from 1 up: caches then hold its entries, and translations of some pages under the IDs that the kernel will use first.
 */
export function leaveFirmwareTranslating(rids: readonly number[], pages: readonly number[]): Plugin {
  return {
    name: "left on",
    register(host) {
      host.add(BOOT, {
        name: "left on",
        order: 105,
        *run() {
          yield preempt;
          const memory = host.get(MEMORY);
          const mmio = host.get(MMIO);
          const bytes = ENTRIES * DTE_BYTES;
          const entries = memory.allocate(bytes, 4096, "firmware", "device table");
          const secret = memory.allocate(4096, 4096, "firmware", "secret") / 4096;
          const table = new PageTable(memory, amdV1, "firmware", "page table");
          for (const page of pages) {
            table.map(page, secret, 1, RW);
          }
          const [unit] = host.get(AMD_IOMMUS);
          mmio.write64(BASE + DEVICE_TABLE_BASE, entries + bytes / 4096 - 1, 0);
          mmio.write32(BASE + CONTROL, 1 << CONTROL_BIT.IommuEn);
          for (const [index, rid] of rids.entries()) {
            const dte = encodeDte({
              ...EMPTY_DTE,
              valid: true,
              translationValid: true,
              read: true,
              write: true,
              domainId: index + 1,
              mode: amdV1.levels,
              hostRoot: table.root,
            });
            for (const [word, value] of dte.entries()) {
              memory.store32(entries + rid * DTE_BYTES + word * 4, value);
            }
            for (const page of pages) {
              unit?.translate(rid, NO_PASID, page, 0, AT_UNTRANSLATED);
            }
          }
        },
      });
    },
  };
}
