import { layoutRoot } from '../graph/operators.ts';
import type { DispatchForm, Router } from '../moe-layer.ts';
import type { Evidence } from './describe-layer.ts';
import { fromRouter } from './region.ts';

/** Names the way tokens get to experts. */
export function dispatchForm({ bank, region }: Evidence, router: Router): DispatchForm {
  const [{ down, up }] = bank.branches;
  const [first] = up.linears;
  if (down.node.opType === 'Conv') return 'conv';
  const bits = region.colour.get(first.input) ?? 0;
  const isChosen = Boolean(bits & fromRouter);
  if (router.scoring === 'soft-moe') return 'soft';
  if (down.view.selector) return isChosen ? 'loop' : 'gathered';
  if (down.stackAxis !== null) {
    if (!isChosen) return 'dense';
    // Llama-4 multiplies all tokens by their score; everything else fills slots of limited number.
    return layoutRoot(first.input).producer?.opType === 'Mul' ? 'dense' : 'capacity';
  }
  if (!isChosen) return 'dense';
  return up.linears.length > 1 || bank.meetings[0]?.node.opType === 'Concat' ? 'sorted' : 'loop';
}
