/** What follows a name, which may hold dots itself, at the start of a path such as `.layers.L0.id`; null without it. */
export function behind(path: string, name: string): string | null {
  if (!path.startsWith(`.${name}`)) return null;
  const rest = path.slice(1 + name.length);
  return rest === '' || rest.startsWith('.') ? rest : null;
}

/** What may follow a name at the start of a path where any name may stand. */
export function behindAny(path: string): string[] {
  const parts = path.split('.').slice(1);
  return parts.map((_, i) =>
    parts
      .slice(i + 1)
      .map((part) => `.${part}`)
      .join(''),
  );
}
