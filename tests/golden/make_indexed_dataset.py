#!/usr/bin/env python3
"""Writes tests/golden/indexed_dataset: small data sets in the layout of Megatron-LM's IndexedDataset, version 1
(megatron/core/datasets/indexed_dataset.py), one per integer type, and expected.json with their documents.

Independent of switchyard: the Python standard library alone (made with Python 3.11). Run from anywhere.
"""

import json
import struct
from pathlib import Path

# type: (code in the index, struct letter)
TYPES = {"u8": (1, "B"), "i8": (2, "b"), "i16": (3, "h"), "i32": (4, "i"), "i64": (5, "q"), "u16": (8, "H")}

# Documents of sequences of tokens: one sequence, several, an empty one among them, an empty document, a single token.
DOCUMENTS = [[[5, 6, 7, 2]], [[100, 101], [], [102, 103, 2]], [[]], [[1]], [[9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 2]]]
LARGEST = {"u8": 255, "i8": 127, "i16": 32767, "i32": 2**31 - 1, "i64": 2**40, "u16": 65535}


def write(prefix, name, documents):
    code, letter = TYPES[name]
    width = struct.calcsize("<" + letter)
    lengths, offsets, starts, data = [], [], [0], b""
    for document in documents:
        for sequence in document:
            lengths.append(len(sequence))
            offsets.append(len(data))
            data += struct.pack(f"<{len(sequence)}{letter}", *sequence)
        starts.append(len(lengths))
    assert len(data) == width * sum(lengths)
    index = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, code, len(lengths), len(starts))
    index += struct.pack(f"<{len(lengths)}i", *lengths)
    index += struct.pack(f"<{len(offsets)}q", *offsets)
    index += struct.pack(f"<{len(starts)}q", *starts)
    Path(f"{prefix}.bin").write_bytes(data)
    Path(f"{prefix}.idx").write_bytes(index)


def main():
    folder = Path(__file__).resolve().parent / "indexed_dataset"
    folder.mkdir(exist_ok=True)
    expected = {}
    for name in TYPES:
        documents = DOCUMENTS + [[[0, LARGEST[name]]]]
        write(folder / name, name, documents)
        expected[name] = [sum(document, []) for document in documents]
    # As a writer of one sequence a document lays it out.
    for name in ("u16", "i32"):
        documents = [[[3, 1, 4, 2]], [[]], [[1, 5, 9, 2, 6, 2]]]
        write(folder / f"flat_{name}", name, documents)
        expected[f"flat_{name}"] = [sum(document, []) for document in documents]
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
