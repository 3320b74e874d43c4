import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import type { Dispatch } from './dispatch-tokens.ts';
import type { WrittenWeight } from './expert-products.ts';
import { expertProducts } from './expert-products.ts';
import { scaleConstant } from './forms/scale-constant.ts';
import { scaleRows } from './forms/scale-rows.ts';
import type { LinearForm, Operand } from './linear-form.ts';
import type { ResultRows } from './where-any.ts';

/** A linear of one expert whose weight is in the graph. */
export interface WrittenLinear extends WrittenWeight {
  name: string;
  /** Of each channel, see `QuantizedTensor.steps`; null for forms that are not of integers. */
  scales: Float32Array | null;
  bias: Float32Array | null;
  /** Output channels. */
  width: number;
}

/** One linear of every expert. */
interface LinearBank {
  linears: readonly WrittenLinear[];
  /** Names what they give after scales and biases. */
  result: string;
  /** Names the biases; as offsets they hold what a shift of the input takes away, and are counted with the codes. */
  bias: 'bias' | 'offset';
}

/** Where and how linears are written. */
interface Context {
  b: Builder;
  form: LinearForm;
  dispatch: Dispatch;
}

/** Linears of every expert on its rows of one input: what each bank gives, [S, out]. */
export function runLinears(context: Context, input: Operand, banks: readonly LinearBank[]): Value[] {
  const { b, form, dispatch } = context;
  const products = expertProducts(
    b,
    input,
    dispatch,
    banks.map((bank) => ({ products: productsOf(form, bank), weights: bank.linears })),
  );
  return banks.map((bank, i) => finishLinears(context, bank, input, products[i]));
}

function productsOf({ integer }: LinearForm, bank: LinearBank): ResultRows {
  const [{ name, width }] = bank.linears;
  return integer
    ? { name: `${name}/sums`, dtype: 'int32', width }
    : { name: scaledName(bank), dtype: 'float32', width };
}

/** Applies scales, unless the form did, and biases, if there are any. */
function finishLinears(
  { b, form, dispatch }: Context,
  bank: LinearBank,
  input: Operand,
  products: Value,
): Value {
  const { linears, result } = bank;
  const [{ name, width }] = linears;
  const table = (vectors: readonly (Float32Array | null)[]): Float32Array => {
    const values = new Float32Array(linears.length * width);
    vectors.forEach((vector, i) => vector && values.set(vector, i * width));
    return values;
  };
  const perPair = (constant: Value, part: string): Value =>
    b.op('Gather', [constant, dispatch.experts], {}, { name: `${name}/pair_${part}` });
  const shape = [linears.length, width];
  let value = products;
  if (form.integer) {
    const scaled = scaleRows(b, value, input.scales!, `${name}/per_token`);
    const channelScales = table(linears.map(({ scales }) => scales));
    const scales = perPair(scaleConstant(b, `${name}/scales`, shape, channelScales), 'scales');
    value = b.op('Mul', [scaled, scales], {}, { name: scaledName(bank) });
  }
  if (!hasBias(bank)) return value;
  const biases = table(linears.map(({ bias }) => bias));
  const constant =
    bank.bias === 'offset'
      ? scaleConstant(b, `${name}/offset`, shape, biases)
      : b.constant(`${name}/bias`, 'float32', shape, biases);
  return b.op('Add', [value, perPair(constant, bank.bias)], {}, { name: result });
}

function scaledName(bank: LinearBank): string {
  return hasBias(bank) ? `${bank.linears[0].name}/scaled` : bank.result;
}

function hasBias({ linears }: LinearBank): boolean {
  return linears.some(({ bias }) => bias);
}
