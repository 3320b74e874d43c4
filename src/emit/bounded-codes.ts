import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import type { TokenGrid } from './quantize-tokens.ts';
import { perRow } from './quantize-tokens.ts';

/**
 * uint8 codes [n, channels] of a grid narrower than its tokens, whose ends take what lies beyond. QuantizeLinear stops at
 * code 0 by itself and Clip at the last one; then the codes of each token are shifted until that of zero is `zeroPoint`.
 * Two passes over bytes: clipping x itself would take two over floats, six times as long.
 */
export function boundedCodes(
  b: Builder,
  x: Value,
  { vector, smallest }: TokenGrid & { smallest: Value },
  { bits, zeroPoint }: { bits: number; zeroPoint: Value },
): Value {
  const zeros = b.op(
    'QuantizeLinear',
    [b.op('Neg', [smallest]), vector],
    { axis: 0 },
    { name: 'zero_codes' },
  );
  const codes = b.op('QuantizeLinear', [x, vector, perRow(b, zeros)], { axis: 0 });
  const last = b.constant('last_code', 'uint8', [], [2 ** bits - 1]);
  const bounded = b.op('Clip', [codes, null, last], {}, { name: 'bounded' });
  return b.op('Add', [bounded, b.op('Sub', [zeroPoint, zeros])], {}, { name: 'codes' });
}
