import { setAttribute } from '../../onnx/build.ts';
import type { Graph } from '../../onnx/graph.ts';
import type { Node } from '../../onnx/node.ts';
import type { Shapes } from '../graph/shapes.ts';

const ellipsis = '...';
const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'.split('');

/**
 * Writes out the axes that an ellipsis stands for in an Einsum, where the ranks of its operands are known: `...nd,de->...ne`
 * is `And,de->Ane` for three axes. The graph computes the same afterwards. Returns how many there were.
 */
export function spellEllipses(graph: Graph, shapes: Shapes): number {
  const found = graph.nodes
    .filter(({ opType }) => opType === 'Einsum')
    .flatMap((node) => {
      const equation = spelled(node, shapes);
      return equation ? [{ node, equation }] : [];
    });
  for (const { node, equation } of found) setAttribute(node, 'equation', equation);
  return found.length;
}

/** The equation of a node without its ellipses; null where there is none, or no arrow, or a rank that is not known. */
function spelled(node: Node, shapes: Shapes): string | null {
  const equation = (node.string('equation') ?? '').replaceAll(' ', '');
  const [inputs, output] = equation.split('->');
  if (!equation.includes(ellipsis) || output === undefined) return null;
  const operands = inputs.split(',');
  const ranks = operands.map((_, at) => shapes.shapeOf(node.inputs[at])?.length);
  if (ranks.includes(undefined)) return null;
  const hidden = operands.map((labels, at) =>
    labels.includes(ellipsis) ? ranks[at]! - labels.length + ellipsis.length : 0,
  );
  const fresh = letters.filter((letter) => !equation.includes(letter)).slice(0, Math.max(...hidden));
  // Axes of an ellipsis are counted from the last one, as in broadcasting.
  const spell = (labels: string, count: number): string =>
    labels.replace(ellipsis, fresh.slice(fresh.length - count).join(''));
  return `${operands.map((labels, at) => spell(labels, hidden[at])).join(',')}->${spell(output, fresh.length)}`;
}
