import protobuf from 'protobufjs';
import { varint } from './varint.ts';

/**
 * Not ONNX: number, start and length of a data field of a tensor that was left in the file (see skeleton.ts). The last
 * numbers there are, so that no field of a later ONNX has them.
 */
export const privateFields = { payloadField: 536870909, payloadOffset: 536870910, payloadLength: 536870911 };

/**
 * The ONNX messages of IR version 13 (onnx.proto, ONNX 1.20 and later), as far as this project reads them.
 * Fields left out here survive loading and saving as unknown fields.
 * Notation: `name: 'type number'`, `'type[] number'` for repeated, `'type[packed] number'` for packed.
 */
const messages: Record<string, Record<string, string>> = {
  StringStringEntryProto: { key: 'string 1', value: 'string 2' },
  OperatorSetIdProto: { domain: 'string 1', version: 'int64 2' },
  Dimension: { dimValue: 'int64 1', dimParam: 'string 2', denotation: 'string 3' },
  TensorShapeProto: { dim: 'Dimension[] 1' },
  TensorTypeProto: { elemType: 'int32 1', shape: 'TensorShapeProto 2' },
  SequenceTypeProto: { elemType: 'TypeProto 1' },
  MapTypeProto: { keyType: 'int32 1', valueType: 'TypeProto 2' },
  TypeProto: {
    tensorType: 'TensorTypeProto 1',
    sequenceType: 'SequenceTypeProto 4',
    mapType: 'MapTypeProto 5',
    denotation: 'string 6',
    sparseTensorType: 'TensorTypeProto 8',
    optionalType: 'SequenceTypeProto 9',
  },
  ValueInfoProto: {
    name: 'string 1',
    type: 'TypeProto 2',
    docString: 'string 3',
    metadataProps: 'StringStringEntryProto[] 4',
  },
  Segment: { begin: 'int64 1', end: 'int64 2' },
  TensorProto: {
    dims: 'int64[] 1',
    dataType: 'int32 2',
    segment: 'Segment 3',
    floatData: 'float[packed] 4',
    int32Data: 'int32[packed] 5',
    stringData: 'bytes[] 6',
    int64Data: 'int64[packed] 7',
    name: 'string 8',
    rawData: 'bytes 9',
    doubleData: 'double[packed] 10',
    uint64Data: 'uint64[packed] 11',
    docString: 'string 12',
    externalData: 'StringStringEntryProto[] 13',
    dataLocation: 'int32 14',
    metadataProps: 'StringStringEntryProto[] 16',
    payloadField: `int32 ${privateFields.payloadField}`,
    payloadOffset: `double ${privateFields.payloadOffset}`,
    payloadLength: `double ${privateFields.payloadLength}`,
  },
  SparseTensorProto: { values: 'TensorProto 1', indices: 'TensorProto 2', dims: 'int64[] 3' },
  AttributeProto: {
    name: 'string 1',
    f: 'float 2',
    i: 'int64 3',
    s: 'bytes 4',
    t: 'TensorProto 5',
    g: 'GraphProto 6',
    floats: 'float[] 7',
    ints: 'int64[] 8',
    strings: 'bytes[] 9',
    tensors: 'TensorProto[] 10',
    graphs: 'GraphProto[] 11',
    docString: 'string 13',
    tp: 'TypeProto 14',
    typeProtos: 'TypeProto[] 15',
    type: 'int32 20',
    refAttrName: 'string 21',
    sparseTensor: 'SparseTensorProto 22',
    sparseTensors: 'SparseTensorProto[] 23',
  },
  NodeProto: {
    input: 'string[] 1',
    output: 'string[] 2',
    name: 'string 3',
    opType: 'string 4',
    attribute: 'AttributeProto[] 5',
    docString: 'string 6',
    domain: 'string 7',
    overload: 'string 8',
    metadataProps: 'StringStringEntryProto[] 9',
  },
  TensorAnnotation: { tensorName: 'string 1', quantParameterTensorNames: 'StringStringEntryProto[] 2' },
  GraphProto: {
    node: 'NodeProto[] 1',
    name: 'string 2',
    initializer: 'TensorProto[] 5',
    docString: 'string 10',
    input: 'ValueInfoProto[] 11',
    output: 'ValueInfoProto[] 12',
    valueInfo: 'ValueInfoProto[] 13',
    quantizationAnnotation: 'TensorAnnotation[] 14',
    sparseInitializer: 'SparseTensorProto[] 15',
    metadataProps: 'StringStringEntryProto[] 16',
  },
  FunctionProto: {
    name: 'string 1',
    input: 'string[] 4',
    output: 'string[] 5',
    attribute: 'string[] 6',
    node: 'NodeProto[] 7',
    docString: 'string 8',
    opsetImport: 'OperatorSetIdProto[] 9',
    domain: 'string 10',
    attributeProto: 'AttributeProto[] 11',
    valueInfo: 'ValueInfoProto[] 12',
    overload: 'string 13',
    metadataProps: 'StringStringEntryProto[] 14',
  },
  ModelProto: {
    irVersion: 'int64 1',
    producerName: 'string 2',
    producerVersion: 'string 3',
    domain: 'string 4',
    modelVersion: 'int64 5',
    docString: 'string 6',
    graph: 'GraphProto 7',
    opsetImport: 'OperatorSetIdProto[] 8',
    metadataProps: 'StringStringEntryProto[] 14',
    functions: 'FunctionProto[] 25',
  },
};

function buildRoot(): protobuf.Root {
  const root = new protobuf.Root();
  for (const [name, fields] of Object.entries(messages)) {
    const type = new protobuf.Type(name);
    for (const [fieldName, text] of Object.entries(fields)) {
      const [, kind, repetition, id] = /^(\w+)(\[\w*\])? (\d+)$/.exec(text)!;
      const options = repetition === '[]' ? { packed: false } : { packed: true };
      type.add(
        new protobuf.Field(
          fieldName,
          Number(id),
          kind,
          repetition ? 'repeated' : 'optional',
          undefined,
          options,
        ),
      );
    }
    root.add(type);
  }
  for (const type of root.nestedArray) {
    if (!(type instanceof protobuf.Type)) continue;
    forgetDefaults(type);
    showUnknownFields(type);
  }
  return root;
}

/**
 * The library's own messages have an empty list for every absent repeated field and inherit default values. Here an
 * absent field reads as undefined and takes no memory.
 */
function forgetDefaults(type: protobuf.Type): void {
  type.ctor = class extends protobuf.Message {};
  for (const field of type.fieldsArray) Reflect.deleteProperty(type.ctor.prototype as object, field.name);
}

/** The library hides unknown fields from `{...message}`; this project copies messages that way. */
function showUnknownFields(type: protobuf.Type): void {
  const decode = type.setup().decode.bind(type);
  type.decode = (...args) => {
    const message = decode(...args);
    if (Object.hasOwn(message, '$unknowns'))
      Object.defineProperty(message, '$unknowns', { enumerable: true });
    return message;
  };
}

const root = buildRoot();

/** Encodes a message; fields it was decoded with and this schema does not know are written back. */
export function encodeMessage(type: MessageName, message: object): Uint8Array {
  return root.lookupType(type).encode(message).finish();
}

/** Decodes a message and keeps unknown fields. Byte fields are views of `bytes`. */
export function decodeMessage(type: MessageName, bytes: Uint8Array): object {
  const reader = protobuf.Reader.create(bytes);
  reader.discardUnknown = false;
  return root.lookupType(type).decode(reader);
}

/** Tag and length of a length-delimited field. */
export function fieldHeader(field: number, length: number): Uint8Array {
  return Uint8Array.of(...varint(field * 8 + 2), ...varint(length));
}

export type MessageName = 'ModelProto' | 'GraphProto' | 'TensorProto';
