/** `2^n` for the shifts that pages need: multiplying is exact, and faster than dividing or shifting a double. */
const POWERS: Float64Array = Float64Array.from({ length: 53 }, (_, n) => 2 ** n);
const FRACTIONS: Float64Array = Float64Array.from({ length: 53 }, (_, n) => 2 ** -n);

/** `2^n`. @param n 0 … 52 */
export function power(n: number): number {
  return POWERS[n] ?? 1;
}

/** `floor(page / 2^n)`. @param n 0 … 52 */
export function shiftRight(page: number, n: number): number {
  return Math.floor(page * (FRACTIONS[n] ?? 1));
}

/** `page` with its `n` low bits cleared. @param n 0 … 52 */
export function alignDown(page: number, n: number): number {
  return Math.floor(page * (FRACTIONS[n] ?? 1)) * (POWERS[n] ?? 1);
}
