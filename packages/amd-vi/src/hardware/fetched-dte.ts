import { address52 } from "@iommu-lab/core";

/**
 * A DTE as a unit reads it: the fields that decide about requests, from the bits by position. Software's reading of the same
 * bits is `decodeDte`; the two check each other.
 *
 * Source: AMD IOMMU specification §2.2.2.1.
 */
export class FetchedDte {
  /** Where it stands in memory. */
  address = 0;
  /** A reserved bit or value: ILLEGAL_DEV_TABLE_ENTRY. */
  illegal = false;
  /** An IO_PAGE_FAULT was reported since it was fetched (see SE). */
  reported = false;
  valid = false;
  translationValid = false;
  /** HAD: 0 none, 1 A, 3 A and D. */
  accessDirty = 0;
  mode = 0;
  hostRoot = 0;
  pageRequests = false;
  /** GIoV. */
  guestIo = false;
  /** GV. */
  guestValid = false;
  glx = 0;
  gcr3Root = 0;
  read = false;
  write = false;
  domainId = 0;
  iotlb = false;
  suppressFurther = false;
  suppressAll = false;
  ioControl = 0;
  exclusion = false;
  systemManagement = 0;
  interruptValid = false;
  interruptControl = 0;
  guestPagingMode = 0;
  attributeValid = false;
  mode0ForceCoherent = false;
  snoopAttribute = 0;

  /** Takes 8 words apart. */
  set(words: Uint32Array, address: number): void {
    const w0 = words[0] ?? 0;
    const w1 = words[1] ?? 0;
    const w2 = words[2] ?? 0;
    const w3 = words[3] ?? 0;
    const w4 = words[4] ?? 0;
    const w5 = words[5] ?? 0;
    const w7 = words[7] ?? 0;
    this.address = address;
    this.illegal = false;
    this.reported = false;
    this.valid = (w0 & 1) !== 0;
    this.translationValid = (w0 & 2) !== 0;
    this.accessDirty = (w0 >>> 7) & 3;
    this.mode = (w0 >>> 9) & 7;
    this.hostRoot = address52(w0, w1);
    this.pageRequests = (w1 & 0x100000) !== 0;
    this.guestIo = (w1 & 0x400000) !== 0;
    this.guestValid = (w1 & 0x800000) !== 0;
    this.glx = (w1 >>> 24) & 3;
    // Bits 14:12, 30:15 and 51:31 of the address, in three places.
    const low = ((w1 >>> 26) & 7) * 2 ** 12 + (w2 >>> 16) * 2 ** 15;
    this.gcr3Root = low + (w3 >>> 11) * 2 ** 31;
    this.read = (w1 & 0x20000000) !== 0;
    this.write = (w1 & 0x40000000) !== 0;
    this.domainId = w2 & 0xffff;
    this.iotlb = (w3 & 1) !== 0;
    this.suppressFurther = (w3 & 2) !== 0;
    this.suppressAll = (w3 & 4) !== 0;
    this.ioControl = (w3 >>> 3) & 3;
    this.exclusion = (w3 & 0x80) !== 0;
    this.systemManagement = (w3 >>> 8) & 3;
    this.interruptValid = (w4 & 1) !== 0;
    this.guestPagingMode = (w5 >>> 22) & 3;
    this.interruptControl = (w5 >>> 28) & 3;
    this.attributeValid = (w7 & 0x400000) !== 0;
    this.mode0ForceCoherent = (w7 & 0x800000) !== 0;
    this.snoopAttribute = w7 >>> 24;
  }
}
