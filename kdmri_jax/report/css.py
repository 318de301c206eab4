"""The look of the HTML report: light and dark, wide and narrow."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #1d2329; --quiet: #5c6670; --line: #dfe3e7;
  --wash: #f4f6f8; --accent: #00745a; --best: #e8f5f0; --warn: #fff6e0;
  --warn-line: #d9a21b; --link: #0060a0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15191d; --ink: #e4e8eb; --quiet: #9aa5af; --line: #343c44;
    --wash: #1e242a; --accent: #45c3a0; --best: #15332b; --warn: #2f2818;
    --warn-line: #b98c1f; --link: #74b9f0;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.6 system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif;
}
header, main { max-width: 72rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.5rem; }
header p { color: var(--quiet); margin: .25rem 0 0; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0; letter-spacing: -.01em; }
h2 {
  font-size: 1.35rem; margin: 3rem 0 1rem; padding-bottom: .35rem;
  border-bottom: 1px solid var(--line);
}
p { max-width: 46rem; }
a { color: var(--link); }
.answer { border-left: 4px solid var(--accent); padding-left: 1.1rem; }
.answer p { margin: .5rem 0; }
.answer .first { font-size: 1.25rem; line-height: 1.45; }
.numbers {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr));
  gap: 1rem; list-style: none; padding: 0; margin: 1.5rem 0;
}
.numbers li {
  background: var(--wash); border-radius: .6rem; padding: 1rem 1.2rem;
}
.numbers b { display: block; font-size: 1.9rem; line-height: 1.2; }
.numbers span { color: var(--quiet); font-size: .875rem; }
aside {
  background: var(--warn); border-left: 4px solid var(--warn-line);
  border-radius: 0 .4rem .4rem 0; padding: .8rem 1.2rem; margin: 1.5rem 0;
  font-size: .9rem;
}
aside h3 { margin: 0; font-size: 1rem; }
aside ul { margin: .4rem 0 0; padding-left: 1.1rem; }
aside li { margin: .25rem 0; }
.scroll { overflow-x: auto; }
table {
  border-collapse: collapse; width: 100%; font-size: .9rem;
  font-variant-numeric: tabular-nums;
}
th, td {
  padding: .5rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line);
}
th:first-child { text-align: left; }
thead th {
  color: var(--quiet); font-weight: 600; border-bottom-width: 2px;
  white-space: normal; vertical-align: bottom;
}
tbody th { font-weight: 600; }
tbody th i {
  display: inline-block; width: .7rem; height: .7rem; border-radius: 50%;
  margin-right: .55rem;
}
tr.best > * { background: var(--best); font-weight: 700; }
.note, figcaption { color: var(--quiet); font-size: .85rem; max-width: 60rem; }
figure { margin: 1.8rem 0; }
figure img {
  display: block; max-width: 100%; height: auto; background: #ffffff;
  border-radius: .4rem; border: 1px solid var(--line);
}
figcaption { margin-top: .5rem; }
figure.narrow { float: left; width: 19rem; max-width: 100%; margin: .5rem 2rem 1rem 0; }
section::after { content: ""; display: block; clear: both; }
dl {
  overflow: hidden; display: grid;
  grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr));
  gap: .6rem 1.5rem; margin: 1rem 0;
}
dt { color: var(--quiet); font-size: .8rem; }
dd { margin: 0; overflow-wrap: anywhere; }
summary { cursor: pointer; font-weight: 600; }
pre {
  background: var(--wash); border-radius: .4rem; padding: 1rem; overflow-x: auto;
  font-size: .8rem; line-height: 1.45;
}
main { padding-bottom: 4rem; }
"""
