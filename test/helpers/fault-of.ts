import { isFault, type Fault } from '../../src/fault.ts';

/** The Fault an action ends in. */
export function faultOf(action: () => unknown): Fault {
  try {
    action();
  } catch (error) {
    if (isFault(error)) return error;
    throw error;
  }
  throw new Error('the action ended without a Fault');
}
