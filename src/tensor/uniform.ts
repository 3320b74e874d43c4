/** A repeatable stream of numbers in [0, 1) (a linear congruential generator; the high bits serve). */
export function uniform(): () => number {
  let state = 1;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
