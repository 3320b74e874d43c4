import * as z from 'zod';

/** The JSON Schema (draft 2020-12) of what a user may write, for editors and other tools. */
export function jsonSchemaOf(schema: z.ZodType, title: string): Record<string, unknown> {
  return { title, ...z.toJSONSchema(schema, { io: 'input' }) };
}
