import type { MoeLayer } from '../../src/moe/moe-layer.ts';
import { expertOutput } from '../../src/moe/model-record.ts';
import type { Model } from '../../src/onnx/model.ts';

/** Names of the values between the linears of an expert. */
export interface ExpertValues {
  gate: string | null;
  up: string;
  hidden: string;
  output: string;
}

/** Makes what each linear of an emitted layer computes an output of the model; for experts outside of an If. */
export function exposeExperts(model: Model, layer: MoeLayer): Map<string, ExpertValues> {
  const { graph } = model;
  const made = new Map(graph.nodes.flatMap(({ outputs }) => outputs).map((value) => [value!.name, value!]));
  const expose = (name: string): string => {
    const value = made.get(name);
    if (!value) throw new Error(`there is no value ${name}`);
    graph.outputs.push(value);
    return name;
  };
  return new Map(
    layer.experts.map((expert) => {
      const prefix = `moeq/${expert.id}`;
      return [
        expert.id,
        {
          gate: expert.gate && expose(`${prefix}/gate`),
          up: expose(`${prefix}/up`),
          hidden: expose(`${prefix}/hidden`),
          output: expose(expertOutput(expert.id)),
        },
      ];
    }),
  );
}
