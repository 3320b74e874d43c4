/**
 * The style sheet of the report. Colours are variables, so dark mode changes values only; states differ by shape or
 * word as well as by colour. Paper is always light.
 */
export const style = `
:root {
  --page: #fff; --ink: #1c2330; --soft: #596375; --rule: #d8dde6; --panel: #f4f6f9;
  --good: #136c3a; --bad: #b3261e; --good-panel: #e4f4ea; --bad-panel: #fbe9e7;
  --a: #6b7688; --b: #0b5cad; --bar: #2f7cc4; --kept: #b9c3d1; --starved: #e58a00;
  --c1: #c9dff3; --c2: #8cbbe2; --c3: #3f86c4; --c4: #0b4a86;
  --h0: #7f1d1d; --h1: #c2410c; --h2: #f08c2e; --h3: #f6c667; --h4: #bfe0d0; --h5: #7cc1b6; --h6: #2f8f9d;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #12161d; --ink: #e6eaf0; --soft: #a0abbb; --rule: #323b49; --panel: #1b212b;
    --good: #6fd39a; --bad: #ff9a90; --good-panel: #14301f; --bad-panel: #3b1a18;
    --a: #97a3b5; --b: #6db3f5; --bar: #4a95dc; --kept: #4b5667; --starved: #f2a53a;
    --c1: #1f3a56; --c2: #2b5f92; --c3: #4a95dc; --c4: #a9d4fb;
    --h0: #ff5d52; --h1: #f5803e; --h2: #e0a040; --h3: #9c8a4a; --h4: #3f6f68; --h5: #2c6f7c; --h6: #2a5f86;
  }
}
* { box-sizing: border-box; }
html { color-scheme: light dark; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem; padding-top: .6rem; border-top: 1px solid var(--rule); }
#summary h2 { margin-top: .5rem; }
h3 { font-size: 1rem; margin: 0; }
a { color: var(--b); }
p { margin: .5rem 0; }
nav ul, .legend { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: .25rem 1rem; }
.legend { font-size: .85rem; color: var(--soft); margin: .3rem 0 .8rem; }
.legend svg { vertical-align: -2px; }
.verdict { font-size: 1.15rem; font-weight: 600; padding: .6rem .8rem; border-left: 6px solid var(--soft); background: var(--panel); overflow-wrap: anywhere; }
.verdict.good { border-color: var(--good); background: var(--good-panel); color: var(--good); }
.verdict.bad { border-color: var(--bad); background: var(--bad-panel); color: var(--bad); }
.good { color: var(--good); } .bad { color: var(--bad); }
.suspects { border-left: 6px solid var(--starved); background: var(--panel); padding: .6rem .8rem; overflow-wrap: anywhere; }
.suspects ul { margin: .2rem 0; padding-left: 1.2rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .6rem; margin: .8rem 0; }
.tiles div { background: var(--panel); padding: .5rem .7rem; }
.tiles dd { margin: 0; font-size: .85rem; color: var(--soft); }
.tiles b { font-size: 1.25rem; color: var(--ink); }
dt { font-size: .85rem; color: var(--soft); }
.recipe { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: .4rem 1rem; }
.recipe dd { margin: 0; overflow-wrap: anywhere; }
.path { font-family: ui-monospace, monospace; font-size: .9em; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: .5rem 0; }
.scroll:focus-visible, a:focus-visible, summary:focus-visible { outline: 3px solid var(--b); outline-offset: 2px; }
table { border-collapse: collapse; font-size: .9rem; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { padding: .2rem .7rem .2rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--rule); }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--soft); font-weight: 500; vertical-align: bottom; }
tbody th { font-weight: 500; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
thead .n { white-space: normal; }
th small { display: block; color: var(--soft); font-weight: 400; }
details { margin: .5rem 0; }
summary { cursor: pointer; color: var(--b); }
svg { display: inline-block; vertical-align: middle; }
svg.wide { display: block; max-width: 44rem; overflow: visible; }
svg text { font: 12px system-ui, sans-serif; fill: var(--soft); dominant-baseline: central; }
.e { text-anchor: end; } .m { text-anchor: middle; }
.grid { stroke: var(--rule); }
line.a { stroke: var(--a); stroke-width: 2; stroke-dasharray: 5 4; } circle.a { fill: var(--page); stroke: var(--a); stroke-width: 2; }
line.b { stroke: var(--b); stroke-width: 2; } rect.b, circle.b { fill: var(--b); }
.join { stroke: var(--kept); stroke-width: 3; }
.bar { fill: var(--bar); } .kept { fill: var(--kept); } .track { fill: var(--panel); } .tick { stroke: var(--ink); stroke-width: 2; }
.unseen { fill: none; stroke: var(--bad); } .starved { fill: var(--starved); }
.c1 { fill: var(--c1); } .c2 { fill: var(--c2); } .c3 { fill: var(--c3); } .c4 { fill: var(--c4); }
.h0 { fill: var(--h0); } .h1 { fill: var(--h1); } .h2 { fill: var(--h2); } .h3 { fill: var(--h3); } .h4 { fill: var(--h4); } .h5 { fill: var(--h5); } .h6 { fill: var(--h6); }
@media print {
  body { font-size: 11pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  nav { display: none; }
  .scroll { overflow: visible; }
  .scroll > svg { max-width: 100%; height: auto; }
  section, tr, .tiles div { break-inside: avoid; }
  section { break-inside: auto; }
  h2, caption { break-after: avoid; }
}
`;
