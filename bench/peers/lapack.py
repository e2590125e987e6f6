"""LAPACK through SciPy as a child process: one JSON object a line on stdin, one a line on stdout.

    {"op": "load", "name": "a", "rows": 3, "columns": 2, "data": BASE64}   f64, row-major  ->  {"version"}
    {"op": "svd", "name": "a", "single": false}    thin, dgesdd or sgesdd                  ->  {"seconds", "values"}
    {"op": "eigh", "name": "a"}                    dsyevd with vectors                     ->  {"seconds", "values"}

The clock runs around the SciPy call. OpenBLAS takes the kernels of the environment, with one thread.
"""
import base64
import json
import os
import sys
import time

out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import numpy as np
import scipy
import scipy.linalg

matrices = {}


def handle(request):
    op = request["op"]
    if op == "load":
        flat = np.frombuffer(base64.b64decode(request["data"]), dtype=np.float64)
        matrices[request["name"]] = flat.reshape(request["rows"], request["columns"]).copy()
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return {"version": f"SciPy {scipy.__version__}, {blas['name']} {blas['version']}"}
    a = matrices[request["name"]]
    if request.get("single"):
        a = a.astype(np.float32)
    start = time.perf_counter()
    if op == "svd":
        values = scipy.linalg.svd(a, full_matrices=False, lapack_driver="gesdd", check_finite=False)[1]
    else:
        values = scipy.linalg.eigh(a, driver="evd", check_finite=False)[0][::-1]
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "values": [float(v) for v in values]}


for line in sys.stdin:
    try:
        reply = handle(json.loads(line))
    except Exception as error:  # the parent reports it
        reply = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(reply), file=out, flush=True)
