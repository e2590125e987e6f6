/** A worker that lives and never answers. Not a test itself. */
setInterval(() => {}, 1e9);
