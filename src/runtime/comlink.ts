/**
 * The only place where Comlink is imported. Its markers are symbols of one copy, so it stays an external dependency and a caller
 * who uses Comlink too shares that copy.
 */
export { type Endpoint, expose, transfer, wrap } from 'comlink';
