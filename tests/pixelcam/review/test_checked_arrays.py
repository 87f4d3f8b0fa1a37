"""Arrays whose bytes have changed by themselves are damaged, and never show other values."""

from __future__ import annotations

import numpy as np
import pytest

from pixelcam.errors import ProjectError
from pixelcam.review.arrays import SeedPicture, read_map, write_map

RNG = np.random.default_rng(0)
MAP = np.kron(RNG.random((8, 8)), np.ones((8, 8))).astype(np.float32)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_rotten_chunk_of_a_map_is_no_map(tmp_path, share):
    write_map(tmp_path / "map.zarr", MAP)
    whole = read_map(tmp_path / "map.zarr")
    np.testing.assert_allclose(whole, MAP, atol=1e-3)
    chunk = tmp_path / "map.zarr" / "c" / "0" / "0"
    data = bytearray(chunk.read_bytes())
    data[int(share * len(data))] ^= 0x55
    chunk.write_bytes(data)
    found = read_map(tmp_path / "map.zarr")
    assert found is None or (found == whole).all()


def test_a_rotten_chunk_of_seeds_is_damaged(tmp_path):
    picture = SeedPicture(tmp_path / "seeds.zarr", (64, 64), {})
    picture.begin()
    array = picture._open()
    array[...] = RNG.integers(0, 3, (64, 64))
    chunk = tmp_path / "seeds.zarr" / "c" / "0" / "0"
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 0x55
    chunk.write_bytes(data)
    with pytest.raises(ProjectError, match="damaged"):
        SeedPicture(tmp_path / "seeds.zarr", (64, 64), {}).read((0, 0, 64, 64))
