/** OVFLG of a producer index and OVACKFLG of a consumer index. Source: SMMUv3 §3.5. */
export const OVERFLOW_FLAG = 0x80000000;

/** Position in the queue. @param log2Size log2 of the number of entries */
export function indexOf(pointer: number, log2Size: number): number {
  return pointer & (2 ** log2Size - 1);
}

/** Index and wrap bit, without flags. */
export function positionOf(pointer: number, log2Size: number): number {
  return pointer & (2 ** (log2Size + 1) - 1);
}

/** The position `count` entries further, wrap bit included, without flags. */
export function advance(pointer: number, count: number, log2Size: number): number {
  return positionOf(positionOf(pointer, log2Size) + count, log2Size);
}

/** Index and wrap bit equal. */
export function isEmpty(producer: number, consumer: number, log2Size: number): boolean {
  return positionOf(producer, log2Size) === positionOf(consumer, log2Size);
}

/** Index equal, wrap bit different. */
export function isFull(producer: number, consumer: number, log2Size: number): boolean {
  return positionOf(producer, log2Size) === (positionOf(consumer, log2Size) ^ (2 ** log2Size));
}

/** How many entries wait between consumer and producer. */
export function occupied(producer: number, consumer: number, log2Size: number): number {
  return positionOf(positionOf(producer, log2Size) - positionOf(consumer, log2Size), log2Size);
}
