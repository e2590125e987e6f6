"""Makes a Q8_0 GGUF file of one with Q4_1 matrices, for rivals that are fastest on it: the same values, to within Q8_0's rounding.

usage: python q8_0.py SOURCE.gguf OUT.gguf      (needs gguf and numpy)
Metadata and all other tensors stay as they are, but for the file type.
"""
import os
import sys

import gguf
from gguf import GGMLQuantizationType, GGUFValueType, LlamaFileType

source, out = sys.argv[1:3]
reader = gguf.GGUFReader(source)
part = f"{out}.{os.getpid()}.part"
writer = gguf.GGUFWriter(part, reader.get_field("general.architecture").contents())

for field in reader.fields.values():
    if field.name.startswith("GGUF.") or field.name == "general.architecture":  # the writer's own
        continue
    kind = field.types[0]
    value = LlamaFileType.MOSTLY_Q8_0.value if field.name == "general.file_type" else field.contents()
    writer.add_key_value(field.name, value, kind, sub_type=field.types[-1] if kind == GGUFValueType.ARRAY else None)

for tensor in reader.tensors:
    data, kind = tensor.data, tensor.tensor_type
    if kind == GGMLQuantizationType.Q4_1:
        kind = GGMLQuantizationType.Q8_0
        data = gguf.quantize(gguf.dequantize(data, tensor.tensor_type), kind)
    writer.add_tensor(tensor.name, data, raw_dtype=kind)

writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
os.replace(part, out)
