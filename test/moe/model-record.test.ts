import { expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import { readModelRecord } from '../../src/moe/model-record.ts';
import { explicitRouting } from '../../src/moe/spell-out-routing.ts';
import { Graph } from '../../src/onnx/graph.ts';
import { newModel } from '../../src/onnx/model.ts';
import { openModel } from '../../src/onnx/open-model.ts';
import { bundledModel } from '../helpers/bundled.ts';
import { faultOf } from '../helpers/fault-of.ts';

it('damaged metadata is told of', () => {
  const model = newModel(new Graph('test'), { '': 21 }, 10, 'damaged.onnx');
  expect(readModelRecord(model)).toBeNull();
  model.metadata = [{ key: 'moeq', value: '{"version": "0.1.0", ' }];
  expect(faultOf(() => readModelRecord(model))).toMatchObject({
    code: 'RECORD_INVALID',
    where: 'damaged.onnx',
  });
});

it('the routing inside a fused operator has no values before it is spelled out', () => {
  const [layer] = locate(openModel(bundledModel('fused.moe'))).layers;
  expect(() => explicitRouting(layer)).toThrow('the routing of L0 was not spelled out');
});
