#!/usr/bin/env python3
"""Writes corpus/: for each format something sound, and the known attacks on it. Run again after a change of this file."""
import json
import shutil
import struct
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / 'corpus'
DEEP = 20_000


def put(target, name, content):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def safetensors(name, header, data=b'', length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    put('safetensors', name, struct.pack('<Q', len(text) if length is None else length) + text + data)


def tensor(begin, end, dtype='F32', shape=None):
    return {'dtype': dtype, 'shape': [(end - begin) // 4] if shape is None else shape, 'data_offsets': [begin, end]}


def make_safetensors():
    two = {'a': tensor(0, 8), 'b': tensor(8, 16)}
    safetensors('sound', {'__metadata__': {'format': 'pt'}, **two}, bytes(16))
    safetensors('empty', {})
    safetensors('scalar', {'a': tensor(0, 4, shape=[])}, bytes(4))
    safetensors('zero_extent', {'a': tensor(0, 0, shape=[0, 1 << 62])})
    safetensors('hole', {'a': tensor(0, 8), 'b': tensor(12, 20)}, bytes(20))
    safetensors('hole_at_end', {'a': tensor(0, 8)}, bytes(16))
    safetensors('overlap', {'a': tensor(0, 8), 'b': tensor(4, 12)}, bytes(12))
    safetensors('same_range_twice', {'a': tensor(0, 8), 'b': tensor(0, 8)}, bytes(8))
    safetensors('beyond_the_file', {'a': tensor(0, 1 << 40)}, bytes(8))
    safetensors('backwards', {'a': tensor(8, 0, shape=[2])}, bytes(8))
    safetensors('offset_over_63_bits', {'a': tensor(0, (1 << 64) - 4, shape=[1 << 62])}, bytes(8))
    safetensors('shape_product_wraps', {'a': tensor(0, 8, shape=[1 << 32, 1 << 32, 2])}, bytes(8))
    safetensors('negative', {'a': tensor(0, 8, shape=[-2])}, bytes(8))
    safetensors('fraction', {'a': {'dtype': 'F32', 'shape': [2.0], 'data_offsets': [0, 8.0]}}, bytes(8))
    safetensors('unknown_dtype', {'a': tensor(0, 8, dtype='C64')}, bytes(8))
    safetensors('deep_dtype', b'{"a":{"dtype":' + b'[' * DEEP + b']' * DEEP + b',"shape":[],"data_offsets":[0,0]}}')
    safetensors('deep', b'[' * DEEP)
    safetensors('deep_objects', b'{"a":' * DEEP)
    safetensors('duplicate_name', b'{"a":' + json.dumps(tensor(0, 4)).encode() + b',"a":' +
                json.dumps(tensor(4, 8)).encode() + b'}', bytes(8))
    safetensors('duplicate_key', b'{"a":{"dtype":"U8","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(4))
    safetensors('duplicate_metadata', b'{"__metadata__":{"k":"1","k":"2"}}')
    safetensors('metadata_of_numbers', {'__metadata__': {'k': 1}})
    safetensors('header_longer_than_file', {}, length=100)
    safetensors('header_over_the_limit', {}, length=100_000_001)
    safetensors('header_of_2_64', {}, length=(1 << 64) - 1)
    safetensors('header_of_nothing', b'', length=0)
    safetensors('not_utf8', b'{"\xff\xfe":1}')
    safetensors('half_surrogate', b'{"\\ud800":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}')
    safetensors('zero_byte_in_name', b'{"a\\u0000b":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}')
    safetensors('many', {f't{i}': tensor(4 * i, 4 * i + 4) for i in range(300)}, bytes(1200))
    put('safetensors', 'seven_bytes', bytes(7))


def manifest(**changes):
    box = {'offset': [0, 0], 'extent': [2, 4], 'file': 'f', 'byte_offset': 64, 'checksums': ['0123456789abcdef']}
    whole = {'format': 'switchyard checkpoint', 'version': 1, 'step': 7, 'chunk_bytes': 1 << 20, 'total_bytes': 96,
             'run_state': {'step': 7}, 'files': [{'name': 'f', 'bytes': 96}],
             'tensors': [{'name': 'w', 'dtype': 'F32', 'shape': [2, 4], 'boxes': [box]}]}
    whole.update(changes)
    return whole


def put_manifest(name, value):
    """Without the last brace, which comes after the hash."""
    put('manifest', name, value if isinstance(value, bytes) else json.dumps(value).encode()[:-1])


def make_manifest():
    def one(**changes):
        tensor_of = manifest()['tensors'][0]
        tensor_of['boxes'][0].update({k: v for k, v in changes.items() if k in tensor_of['boxes'][0]})
        tensor_of.update({k: v for k, v in changes.items() if k in tensor_of})
        return [tensor_of]
    most = (1 << 63) - 1
    for version in (1, 2, 3):
        put_manifest(f'version_{version}', manifest(version=version))
    put_manifest('nothing', manifest(files=[], tensors=[], total_bytes=0))
    put_manifest('scalar', manifest(tensors=one(shape=[], offset=[], extent=[])))
    put_manifest('huge_files', manifest(files=[{'name': c, 'bytes': most} for c in 'fgh'], total_bytes=most))
    put_manifest('huge_boxes', manifest(
        files=[{'name': 'f', 'bytes': most}], total_bytes=most,
        tensors=[{'name': 'w', 'dtype': 'U8', 'shape': [1 << 40], 'boxes': [
            {'offset': [0], 'extent': [1 << 40], 'file': 'f', 'byte_offset': 0, 'checksums': []}] * 4}]))
    put_manifest('negative_offset', manifest(tensors=one(byte_offset=-1)))
    put_manifest('offset_wraps', manifest(tensors=one(byte_offset=most)))
    put_manifest('extent_wraps', manifest(tensors=one(offset=[1, 0], extent=[most, 4])))
    put_manifest('fraction', manifest(step=1e308))
    put_manifest('file_elsewhere', manifest(files=[{'name': '../f', 'bytes': 96}]))
    put_manifest('unknown_file', manifest(tensors=one(file='g')))
    put_manifest('box_twice', manifest(tensors=[{**one()[0], 'boxes': one()[0]['boxes'] * 2}]))
    put_manifest('name_twice', manifest(tensors=one() * 2))
    put_manifest('deep', b'{"run_state":' + b'[' * DEEP)
    text = json.dumps(manifest()).encode()
    put_manifest('deep_state', text.replace(b'{"step": 7}', b'{"a":' + b'[' * DEEP + b']' * DEEP + b'}')[:-1])
    put_manifest('many_keys', b'{' + b','.join(b'"%d":1' % i for i in range(6000)))
    put_manifest('many_boxes', manifest(tensors=[{**one()[0], 'boxes': [
        {**one()[0]['boxes'][0], 'checksums': []} for _ in range(100)]}]))


def make_config():
    sound = """train:
  steps: 100
  parts: auto
  shuffle: false
  dir: "runs/b"
  tags: [a, b]
optimizer:
  lr: 1e-3
  betas: [0.9, 0.95]
  schedule: {kind: linear, min_lr: 0}
"""
    texts = {
        'sound': sound, 'empty': '', 'comment': '# nothing\n', 'unknown': 'train: {step: 1}\n', 'twice': sound + sound,
        'list': '- a\n', 'two_documents': sound + '---\n' + sound, 'stray': 'train: {steps: 1}}\n', 'tab': 'train:\n\tsteps: 1',
        'anchors': 'train: &t {steps: 1}\noptimizer: *t\n', 'merge': 'a: &a {steps: 1}\ntrain: {<<: *a}\n',
        'self': 'train: &a [*a]\n', 'laughs': ''.join(f'{chr(98 + i)}: &{chr(98 + i)} [{",".join([f"*{chr(97 + i)}"] * 9)}]\n'
                                                      for i in range(9)).replace('*a', 'x'),
        'deep_list': 'train: ' + '[' * DEEP, 'deep_map': 'train: ' + '{a: ' * DEEP,
        'deep_block': '\n'.join(' ' * i + 'a:' for i in range(200)), 'deep_dashes': 'train: ' + '- ' * 3000,
        'question': '? train\n: 1\n', 'null_key': '~: 1\n', 'tag': 'train: !!python/object {steps: !!int "1"}\n',
        'huge_number': 'train: {steps: 99999999999999999999}\n', 'nan': 'optimizer: {lr: .nan}\n',
        'control': 'train: "\\x00\\uD800"\n', 'block_text': 'train:\n  dir: |\n    a\n    b\n',
    }
    for name, text in texts.items():
        put('config', name, text.encode())
    put('config', 'not_utf8', b'train: \xff\xfe\n')
    put('config', 'utf16', sound.encode('utf-16'))


def make_idx():
    def idx(lengths, starts, width=2, code=8, version=1, offsets=None, sequences=None, documents=None, bin_bytes=None):
        if offsets is None:
            offsets = [sum(lengths[:i]) * width for i in range(len(lengths))]
        return (struct.pack('<I', sum(lengths) * width & 0xFFFFFFFF if bin_bytes is None else bin_bytes) +
                b'MMIDIDX\0\0' + struct.pack('<QBQQ', version, code, len(lengths) if sequences is None else sequences,
                                             len(starts) if documents is None else documents) +
                struct.pack(f'<{len(lengths)}i', *lengths) + struct.pack(f'<{len(offsets)}q', *offsets) +
                struct.pack(f'<{len(starts)}q', *starts))
    put('idx', 'sound', idx([3, 5, 2], [0, 1, 3]))
    put('idx', 'bytes', idx([3, 5], [0, 2], width=1, code=1))
    put('idx', 'nothing', idx([], [0]))
    put('idx', 'empty_sequences', idx([0, 0, 4], [0, 0, 2, 3]))
    put('idx', 'negative_length', idx([-1, 5], [0, 2], offsets=[0, 0]))
    put('idx', 'hole', idx([3, 5], [0, 2], offsets=[0, 8]))
    put('idx', 'sequences_wrap', idx([3], [0, 1], sequences=(1 << 64) // 12 + 1))
    put('idx', 'documents_wrap', idx([3], [0, 1], documents=1 << 61))
    put('idx', 'no_documents', idx([3], []))
    put('idx', 'documents_backwards', idx([3, 5], [0, 2, 1, 2]))
    put('idx', 'document_beyond', idx([3, 5], [0, 9]))
    put('idx', 'floats', idx([3], [0, 1], code=7))
    put('idx', 'version', idx([3], [0, 1], version=2))
    put('idx', 'longest', idx([(1 << 31) - 1] * 3, [0, 3], width=8, code=5, bin_bytes=0xFFFFFFFF))
    put('idx', 'short', b'\0\0\0\0MMIDIDX')


if __name__ == '__main__':
    shutil.rmtree(CORPUS, ignore_errors=True)
    for make in (make_safetensors, make_manifest, make_config, make_idx):
        make()
