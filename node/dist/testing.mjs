export { Cluster, cluster, options } from './testing.js';
