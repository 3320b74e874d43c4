/** Whether {@link paleyMatrix} has an order: one more than a prime that is 3 modulo 4 (12, 20, 24, 44, 48, 60 …). */
export function paleyOrder(order: number): boolean {
  return order % 4 === 0 && isPrime(order - 1);
}

function isPrime(n: number): boolean {
  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false;
  return n > 1;
}

/**
 * The Hadamard matrix [order, order] of Paley's first construction (On orthogonal matrices, 1933), of 1 and -1: I + S, where
 * S tells by row and column whether their difference is a square modulo order - 1, bordered by 1 above and -1 on the left.
 */
export function paleyMatrix(order: number): Int8Array {
  const p = order - 1;
  const squares = new Set(Array.from({ length: p - 1 }, (_, i) => (i + 1) ** 2 % p));
  return Int8Array.from({ length: order * order }, (_, at) => {
    const [i, j] = [Math.floor(at / order), at % order];
    if (i === j || i === 0) return 1;
    if (j === 0) return -1;
    return squares.has((i - j + p) % p) ? 1 : -1;
  });
}
