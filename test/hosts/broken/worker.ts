/** Stays. */
setInterval(() => {}, 1000);
