/** @internal For `import`, which reads a file of CommonJS for its names before it runs: this one is short. */
import casm = require('./index.js')
export { casm }
