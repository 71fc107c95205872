import { BOOT, MEMORY, MMIO, type Plugin, SCHEDULER, preempt } from "@iommu-lab/core";
import { AT_UNTRANSLATED, NO_PASID } from "@iommu-lab/pci";
import { encodeCd } from "../../src/layout/context-descriptor.ts";
import { CR0, CR2, REG, encodeStrtabBase, encodeStrtabBaseCfg } from "../../src/layout/registers.ts";
import { S1_DSS, STE_CONFIG, STRW, encodeSte } from "../../src/layout/stream-table-entry.ts";
import { LINUX_MAIR } from "../../src/layout/vmsav8-64.ts";
import { SMMUV3_HARDWARE } from "../../src/plugin.ts";

const BASE = 0x09050000;
const RID = 0x100;
const STREAM_BITS = 9;
const TAGS = 8;
const LEAF = 0xf43;
const TABLE = 3;

/**
 * Firmware that translates with tables of its own until the kernel takes over: caches then hold its STE, and translations
 * of some pages under every tag that the kernel will use first.
 */
export function leaveFirmwareTranslating(pages: readonly number[], el2: boolean): Plugin {
  return {
    name: "firmware",
    register(host) {
      host.add(BOOT, {
        name: "firmware",
        order: 100,
        *run() {
          yield preempt;
          const memory = host.get(MEMORY);
          const mmio = host.get(MMIO);
          const take = (bytes: number): number => memory.allocate(bytes, bytes, "firmware", "tables");
          const [streams, contexts, root, secret] = [64 * 2 ** STREAM_BITS, 4096, 0x4000, 4096].map(take) as [
            number,
            number,
            number,
            number,
          ];
          for (let level = 0; level < 3; level += 1) {
            memory.store64(root + level * 4096, root + (level + 1) * 4096 + TABLE, 0);
          }
          for (const page of pages) {
            memory.store64(root + 3 * 4096 + page * 8, secret + LEAF, 0);
          }
          const store = (address: number, words: ArrayLike<number>): void => {
            for (let index = 0; index < words.length; index += 1) {
              memory.store32(address + index * 4, words[index] ?? 0);
            }
          };
          for (let ssid = 0; ssid < TAGS; ssid += 1) {
            const walk = { t0Sz: 16, epd1: 1, ips: 5, ttb0: root, mair0: LINUX_MAIR[0], mair1: LINUX_MAIR[1] };
            store(contexts + ssid * 64, encodeCd({ ...walk, v: 1, aa64: 1, r: 1, a: 1, aset: 1, asid: ssid + 1 }));
          }
          for (const rid of [RID, RID + 1]) {
            const ste = encodeSte({
              v: 1,
              config: STE_CONFIG.stage1,
              s1ContextPtr: contexts,
              s1CdMax: Math.log2(TAGS),
              s1Dss: S1_DSS.ssid0,
              eats: 1,
              strw: el2 ? STRW.el2 : STRW.nsEl1,
            });
            store(streams + rid * 64, ste);
          }
          mmio.write32(BASE + REG.cr2, CR2.recInvSid | (el2 ? CR2.e2h : 0));
          mmio.write64(BASE + REG.strtabBase, ...encodeStrtabBase(streams));
          mmio.write32(
            BASE + REG.strtabBaseCfg,
            encodeStrtabBaseCfg({ log2Size: STREAM_BITS, split: 0, twoLevels: false }),
          );
          mmio.write32(BASE + REG.cr0, CR0.smmuen | CR0.atschk);
          host.get(SCHEDULER).settle();
          const smmu = host.get(SMMUV3_HARDWARE);
          const statuses = new Set<string>();
          for (const page of pages) {
            statuses.add(smmu.translate(RID + 1, NO_PASID, page, 0, AT_UNTRANSLATED).status);
            for (let ssid = 0; ssid < TAGS; ssid += 1) {
              statuses.add(smmu.translate(RID, ssid === 0 ? NO_PASID : ssid, page, 0, AT_UNTRANSLATED).status);
            }
          }
          if ([...statuses].join(" ") !== "success") {
            throw new Error("firmware's own tables do not translate");
          }
        },
      });
    },
  };
}
