// node build.mjs WORLD OUT: makes the component of filter.js. `lockgate filter
// build` runs it. What has to be bundled or translated first, do it here.

import { readFile, writeFile } from 'node:fs/promises';
import { componentize } from '@bytecodealliance/componentize-js';

const [worldName, out] = process.argv.slice(2);
const { component } = await componentize(await readFile('filter.js', 'utf8'), {
  sourceName: 'filter.js',
  witPath: 'wit',
  worldName,
  // No import of WASI is left: the filter sees what its world gives it.
  disableFeatures: ['stdio', 'random', 'clocks', 'http', 'fetch-event'],
});
await writeFile(out, component);
