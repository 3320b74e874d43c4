/** What a long run is doing; the command line shows it. */
export interface ProgressEvent {
  stage: 'calibrate' | 'try' | 'quantize' | 'realign' | 'router' | 'write' | 'parity' | 'verify';
  detail: string;
}

export type Progress = (event: ProgressEvent) => void;
