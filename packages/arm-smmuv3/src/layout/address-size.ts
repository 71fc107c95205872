const BITS = [32, 36, 40, 42, 44, 48, 52, 56] as const;

/** Address bits that an OAS, IPS or S2PS code stands for (IDR5.OAS, CD.IPS, STE.S2PS). */
export function addressBits(code: number): number {
  return BITS[code] ?? 48;
}

/** The code of an address size in bits. @returns the largest code that is not wider */
export function addressSizeCode(bits: number): number {
  return Math.max(
    0,
    BITS.findLastIndex((one) => one <= bits),
  );
}
