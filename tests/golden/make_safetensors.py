#!/usr/bin/env python3
"""Writes storage/small.safetensors with the PyPI package `safetensors`, and checks a file of ours with it.

    pip install safetensors==0.8.0 numpy==2.4.6
    make_safetensors.py                 writes storage/small.safetensors beside this script
    make_safetensors.py verify FILE     compares FILE, written by the test of the writer, with the same tensors

The bf16 tensor is given as bytes, because numpy has no such type.
"""

import pathlib
import sys

import numpy
import safetensors
from safetensors import TensorSpec, serialize_file

# name -> (dtype in the file, array that holds the bits)
TENSORS = {
    "weight": ("F32", (numpy.arange(6, dtype=numpy.float32).reshape(2, 3) - 2.5)),
    "double": ("F64", numpy.array([1 / 3, -2 / 3, 1e300], dtype=numpy.float64)),
    "half": ("F16", numpy.array([0.5, -1.5, 65504.0], dtype=numpy.float16)),
    "bfloat": ("BF16", numpy.array([0x3F80, 0xC020, 0x7F7F, 0x0001], dtype=numpy.uint16).reshape(2, 2)),
    "long": ("I64", numpy.array([-(2**63), 0, 2**63 - 1], dtype=numpy.int64)),
    "int": ("I32", numpy.array([[-(2**31)], [2**31 - 1]], dtype=numpy.int32)),
    "byte": ("U8", numpy.array([0, 127, 255], dtype=numpy.uint8)),
    "flag": ("BOOL", numpy.array([True, False], dtype=numpy.bool_)),
    "scalar": ("F32", numpy.array(42.0, dtype=numpy.float32)),
    "empty": ("F32", numpy.zeros((0, 5), dtype=numpy.float32)),
}
METADATA = {"made_by": "safetensors 0.8.0, numpy 2.4.6", "snowman": "\u2603"}


def write(path):
    names = {"F32": "float32", "F64": "float64", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
             "U8": "uint8", "BOOL": "bool"}
    specs = {name: TensorSpec(dtype=names[dtype], shape=list(array.shape), data_ptr=array.ctypes.data,
                              data_len=array.nbytes)
             for name, (dtype, array) in TENSORS.items()}
    serialize_file(specs, str(path), METADATA)


def verify(path):
    with open(path, "rb") as file:
        entries = dict(safetensors.deserialize(file.read()))
    assert set(entries) == set(TENSORS), sorted(entries)
    for name, (dtype, array) in TENSORS.items():
        entry = entries[name]
        assert entry["dtype"] == dtype, (name, entry["dtype"])
        assert tuple(entry["shape"]) == array.shape, (name, entry["shape"])
        assert bytes(entry["data"]) == array.tobytes(), name
    with safetensors.safe_open(path, framework="numpy") as file:
        assert file.metadata() == METADATA, file.metadata()
    print(f"{path}: {len(TENSORS)} tensors agree")


if __name__ == "__main__":
    if sys.argv[1:2] == ["verify"]:
        verify(sys.argv[2])
    else:
        write(pathlib.Path(__file__).parent / "storage" / "small.safetensors")
