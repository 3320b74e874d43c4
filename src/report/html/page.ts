import type { Markup } from './markup.ts';
import { markup } from './markup.ts';
import { style } from './style.ts';

/** A whole HTML file around the contents of its `main`: one that needs no network and no script. */
export function htmlPage(title: string, main: Markup): string {
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<style>${{ markup: style }}</style>
</head>
<body>
<main>
${main}
</main>
</body>
</html>
`.markup;
}
