"""Native llama.cpp as a child process: one JSON object a line on stdin, one a line on stdout.

    {"op": "load", "path": FILE, "context": 1024, "threads": 1}  ->  {"ok": true, "version": .., "system": ..}
    {"op": "prefill", "ids": [..]}   clears the cache, evaluates all ids, logits for the last only  ->  {"seconds", "top"}
    {"op": "decode", "n": 64}        greedy, from where the last call ended                          ->  {"seconds", "ids"}
    {"op": "logits"}                 logits of the last position                                     ->  {"logits"}

The clock runs around llama_decode and llama_synchronize only: picking the next token is not counted.
"""
import json
import os
import sys
import time

out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # whatever the library prints goes to stderr

import ctypes

import llama_cpp as ll
import numpy as np


class Engine:
    def __init__(self, path, context, threads):
        self.quiet = ll.llama_log_callback(lambda level, text, data: None)
        ll.llama_log_set(self.quiet, None)
        ll.llama_backend_init()
        self.model = ll.llama_model_load_from_file(path.encode(), ll.llama_model_default_params())
        if not self.model:
            raise RuntimeError(f"llama.cpp cannot load {path}")
        params = ll.llama_context_default_params()
        params.n_ctx = context
        params.n_batch = params.n_ubatch = 512
        params.n_threads = params.n_threads_batch = threads
        self.context = ll.llama_init_from_model(self.model, params)
        self.vocabulary = ll.llama_vocab_n_tokens(ll.llama_model_get_vocab(self.model))
        self.batch = ll.llama_batch_init(512, 0, 1)
        self.position = 0

    def forward(self, ids, last):
        batch = self.batch
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i] = token
            batch.pos[i] = self.position + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = last and i == len(ids) - 1
        start = time.perf_counter()
        code = ll.llama_decode(self.context, batch)
        ll.llama_synchronize(self.context)
        seconds = time.perf_counter() - start
        if code != 0:
            raise RuntimeError(f"llama_decode returned {code}")
        self.position += len(ids)
        return seconds

    def logits(self):
        pointer = ll.llama_get_logits_ith(self.context, -1)
        return np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float)), (self.vocabulary,))

    def prefill(self, ids):
        ll.llama_memory_clear(ll.llama_get_memory(self.context), True)
        self.position = 0
        seconds = 0.0
        for start in range(0, len(ids), 512):
            seconds += self.forward(ids[start : start + 512], start + 512 >= len(ids))
        return {"seconds": seconds, "top": int(self.logits().argmax())}

    def decode(self, n):
        seconds, ids = 0.0, []
        for _ in range(n):
            token = int(self.logits().argmax())
            ids.append(token)
            seconds += self.forward([token], True)
        return {"seconds": seconds, "ids": ids}


engine = None
for line in sys.stdin:
    request = json.loads(line)
    try:
        match request["op"]:
            case "load":
                engine = Engine(request["path"], request.get("context", 1024), request.get("threads", 1))
                reply = {"ok": True, "version": ll.__version__, "system": ll.llama_print_system_info().decode()}
            case "prefill":
                reply = engine.prefill(request["ids"])
            case "decode":
                reply = engine.decode(request["n"])
            case "logits":
                reply = {"logits": engine.logits().tolist()}
            case _:
                reply = {"error": f"unknown operation {request['op']}"}
    except Exception as error:
        reply = {"error": f"{type(error).__name__}: {error}"}
    out.write(json.dumps(reply) + "\n")
    out.flush()
