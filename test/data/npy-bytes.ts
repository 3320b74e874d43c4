/** A NumPy array of format 1.0, written by hand. */
export function npy(descriptor: string, shape: number[], data: Uint8Array, fortran = false): Uint8Array {
  const order = fortran ? 'True' : 'False';
  const dims = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const header = `{'descr': '${descriptor}', 'fortran_order': ${order}, 'shape': (${dims}), }`;
  const padded = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11) + '\n';
  const prefix = [0x93, ...Buffer.from('NUMPY'), 1, 0, padded.length & 0xff, padded.length >> 8];
  return Uint8Array.from([...prefix, ...Buffer.from(padded), ...data]);
}
