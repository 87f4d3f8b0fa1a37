"""Make small pictures of tissue whose label is carried by their glands, in the layouts of the data sets.

A "round" picture holds round glands: a smooth lumen within one even ring of nuclei. A "crowded" one holds
irregular glands, full of crowded nuclei, with no lumen or a slit. Stroma, stain, brightness and the area of
the glands are drawn alike for both, so that neither colour nor area gives the label away: only what the
glands look like does. All is drawn from a seed.

The writers make `glas_like`, `ebhi_like`, `folder` and `labelled` data sets; `tests/conftest.py` has most of
them as fixtures.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.draw import disk, ellipse, polygon

Kind = Literal["round", "crowded", "stroma"]
Image3 = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Rng = np.random.Generator
Dye = NDArray[np.float64]

GLAS_FOLDER = "Warwick_QU_Dataset_(Released_2016_07_08)"
"""The folder that the official fold files name, parentheses included."""

CAMELYON_FOLDER = "camelyon16/w-512xh-512 (level 0)"
"""A folder as the fold files of CAMELYON512 name it, with parentheses added."""


def tissue(kind: Kind, seed: int, size: int = 96) -> tuple[Image3, Mask]:
    """Return a picture (size, size, 3) uint8 and the mask (size, size) of its glands; "stroma" has none."""
    rng = np.random.default_rng([{"round": 0, "crowded": 1, "stroma": 2}[kind], seed])
    # Amounts of eosin (pink) and haematoxylin (purple); colour comes in last, by the picture's own stain.
    eosin = 0.45 + 0.25 * _fibres(rng, size)
    haematoxylin = np.full((size, size), 0.06)
    _stroma_nuclei(rng, haematoxylin)
    mask = np.zeros((size, size), bool)
    draw = {"round": _round_gland, "crowded": _crowded_gland}.get(kind)
    if draw is not None:
        _place_glands(rng, draw, eosin, haematoxylin, mask)
    return _stain(rng, eosin, haematoxylin), mask


def tissues(kind: Kind, number: int, *, seed: int = 0, size: int = 96) -> list[tuple[Image3, Mask]]:
    """Return several pictures with masks; other seeds give other pictures."""
    return [tissue(kind, seed * 10_000 + index, size) for index in range(number)]


def write_glas_like(
    root: Path, *, train: int = 20, valcl: int = 8, test: int = 8, seed: int = 0, size: int = 96,
    original: bool = False, folds: int = 2, with_test: bool = True,
) -> Path:  # fmt: skip
    """Write a data set in the layout of GlaS: benign pictures are round, malignant ones crowded.

    Half of each split is of either class; valpx is four pictures of valcl at most. Patients have two
    pictures each, and every eighth patient is in training and in test, as in the real one. `original` writes
    bitmaps with ``_anno`` masks beside them; otherwise ``images/*.webp`` and ``masks/*.png``. Without
    `with_test` the test pictures and fold files are absent, and ``Grade.csv`` lists the others only.
    """
    splits = {"train": train, "valcl": valcl, **({"test": test} if with_test else {})}
    names: dict[str, list[tuple[str, int]]] = {}
    graded: list[tuple[str, int, int]] = []
    for place, (split, number) in enumerate(splits.items()):
        names[split] = []
        for index in range(number):
            label = index % 2
            first = sum(list(splits.values())[:place]) if split != "test" else 0
            name = f"{'testA' if split == 'test' else 'train'}_{first + index + 1}"
            picture = tissue(("round", "crowded")[label], seed * 10_000 + place * 1000 + index, size)
            _write_glas_picture(root, name, *picture, original=original)
            names[split].append((name, label))
            graded.append((name, (first + index) // 4 * 2 + label + 1, label))
    pixel = sorted(names["valcl"], key=lambda entry: (entry[1], entry[0]))
    names["valpx"] = pixel[:2] + pixel[-2:]
    with (root / "Grade.csv").open("w", newline="") as file:
        file.write("name,patient ID, grade (GlaS), grade (Sirinukunwattana et al. 2015)\r\n")
        for name, patient, label in graded:
            file.write(f"{name},{patient}, {('benign', 'malignant')[label]}, made\r\n")
    for fold in range(folds):
        # The last fold's training pictures come in another order: order must not matter.
        for split, entries in names.items():
            _write_fold(root / "folds" / f"fold-{fold}" / split, entries[::-1] if fold else entries, size)
    return root


def write_ebhi_like(
    root: Path, *, cases: int = 8, per_case: int = 2, seed: int = 0, size: int = 96,
    kinds: Sequence[tuple[str, Kind]] = (("adenocarcinoma", "crowded"), ("normal", "round")),
) -> Path:  # fmt: skip
    """Write a data set in the layout of EBHI-SEG: `cases` cases a class of `per_case` pictures each.

    The first case of each class also has a picture in the class before, where its id is in small letters.
    """
    rows = []
    for place, (name, kind) in enumerate(kinds):
        pictures = [(f"GT{place}{case:03d}", number) for case in range(cases) for number in range(per_case)]
        pictures.append((f"gt{(place + 1) % len(kinds)}000", per_case))
        for index, (case, number) in enumerate(pictures):
            image, mask = tissue(kind, seed * 10_000 + place * 1000 + index, size)
            paths = [f"{folder}/{name}/{case}-400-{number:03d}.png" for folder in ("images", "masks")]
            for path, pixels in zip(paths, (image, mask.astype(np.uint8) * 255), strict=True):
                _write(root / path, pixels)
            rows.append([*paths, name, case, round(float(mask.mean()), 4)])
    with (root / "index.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "mask", "class", "case", "fg_fraction"], *rows])
    return root


def write_folder(
    root: Path, *, per_class: int = 16, seed: int = 0, size: int = 96,
    masks: bool = True, divided: bool = False,
    kinds: Sequence[tuple[str, Kind]] = (("crowded", "crowded"), ("round", "round")),
) -> Path:  # fmt: skip
    """Write a folder of class folders, `divided` into train, val and test or not, with masks or not.

    A class of kind "stroma" is named regionless in ``dataset.yaml`` and gets no masks.
    """
    parts = (
        {"train": per_class, "val": per_class // 2, "test": per_class // 2} if divided else {"": per_class}
    )
    for place, (part, number) in enumerate(parts.items()):
        for name, kind in kinds:
            for index in range(number):
                image, mask = tissue(kind, seed * 10_000 + place * 1000 + index, size)
                _write(root / part / name / f"picture-{index:03d}.png", image)
                if masks and kind != "stroma":
                    path = root / "masks" / part / name / f"picture-{index:03d}.png"
                    _write(path, mask.astype(np.uint8) * 255)
    regionless = [name for name, kind in kinds if kind == "stroma"]
    if regionless:
        (root / "dataset.yaml").write_text(f"regionless: [{', '.join(regionless)}]\nmpp: 0.5\n")
    return root


def write_labelled(
    root: Path, *, number: int = 24, seed: int = 0, size: int = 96, masks: bool = True, split: bool = False
) -> Path:
    """Write images with a table of labels: by turns round glands, crowded ones, both side by side, or none.

    `split` gives the table a column that says train, val or test.
    """
    kinds: tuple[tuple[Kind, ...], ...] = (("round",), ("crowded",), ("crowded", "round"), ("stroma",))
    rows = []
    for index in range(number):
        own = kinds[index % len(kinds)]
        halves = [tissue(kind, seed * 10_000 + index, size) for kind in own]
        at = size // len(halves)
        image = np.concatenate([half[0][:, i * at : (i + 1) * at] for i, half in enumerate(halves)], axis=1)
        mask = np.concatenate([half[1][:, i * at : (i + 1) * at] for i, half in enumerate(halves)], axis=1)
        name = f"images/picture-{index:03d}"
        _write(root / f"{name}.png", image)
        if masks and own != ("stroma",):
            _write(root / "masks" / f"{name}.png", mask.astype(np.uint8) * 255)
        labels = ";".join(kind for kind in own if kind != "stroma")
        rows.append([f"{name}.png", labels, ("train", "train", "val", "test")[index // 4 % 4]])
    header = ["image", "labels", "split"]
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(row if split else row[:2] for row in [header, *rows])
    return root


def write_camelyon_like(
    root: Path, *, slides: int = 5, per_slide: int = 2, seed: int = 0, size: int = 64, folds: int = 1
) -> Path:
    """Write a data set in the layout of CAMELYON512: `slides` slides a class for training, and two for test.

    Tumour patches are crowded and have masks, the first of each slide an ignore mask too; normal ones have
    neither. The last patch of each training slide is in valcl, and two of each class of these in valpx.
    """
    splits: dict[str, list[tuple[str, int, str, str]]] = {"train": [], "valcl": [], "test": []}
    for label, (kind, word) in enumerate((("stroma", "normal"), ("crowded", "tumor"))):
        for slide in range(slides + 2):
            part = "training" if slide < slides else "testing"
            tag = f"file_{part}-{word}-{word}_{slide + 1:03d}.tif"
            folder = f"{CAMELYON_FOLDER}/{('normal', 'metastatic')[label]}-patches/{part}"
            for index in range(per_slide):
                place = f"patch_{index}_x_{512 * index}_y_1024_tissue_0.75_w_512_h_512"
                name, mask, ignore = f"{folder}/Patch_{tag}_{place}", "", ""
                image, region = tissue(kind, seed * 10_000 + slide * 100 + index, size)  # type: ignore[arg-type]
                _write(root / f"{name}.png", image)
                if label:
                    mask = f"{folder}/mask_{tag}_{place}.png"
                    _write(root / mask, region.astype(np.uint8) * 255)
                    if index == 0:
                        ignore = f"{folder}/ignore_{tag}_{place}.png"
                        _write(
                            root / ignore, np.pad(np.full((4, size), 255, np.uint8), ((0, size - 4), (0, 0)))
                        )
                split = "test" if slide >= slides else "valcl" if index == per_slide - 1 else "train"
                splits[split].append((f"{name}.png", label, mask, ignore))
    splits["valpx"] = [
        entry for label in (0, 1) for entry in [e for e in splits["valcl"] if e[1] == label][:2]
    ]
    for fold in range(folds):
        for split, entries in splits.items():
            path = root / "folds" / f"fold-{fold}" / split
            path.mkdir(parents=True)
            lines = {
                "image_ids": [name for name, _, _, _ in entries],
                "class_labels": [f"{name},{label}" for name, label, _, _ in entries],
                "image_sizes": [f"{name},{size},{size}" for name, _, _, _ in entries],
                "localization": [f"{name},{mask},{ignore}" for name, _, mask, ignore in entries],
            }
            for file, content in lines.items():
                (path / f"{file}.txt").write_text("\n".join(content) + "\n")
    return root


def _fibres(rng: Rng, size: int) -> Dye:
    """Return wavy noise in [-1, 1], longer in one direction, as collagen is."""
    long, short = rng.uniform(3, 6), rng.uniform(0.7, 1.3)
    sigma = (long, short) if rng.random() < 0.5 else (short, long)
    noise = gaussian_filter(rng.standard_normal((size, size)), sigma, mode="wrap")
    return np.asarray(np.clip(noise / (2.5 * noise.std()), -1, 1))


def _stroma_nuclei(rng: Rng, haematoxylin: Dye) -> None:
    size = haematoxylin.shape[0]
    for _ in range(rng.integers(size * size // 400, size * size // 200)):
        row, column = rng.uniform(0, size, 2)
        spot = ellipse(
            row, column, rng.uniform(0.7, 1.2), rng.uniform(2, 3.5), haematoxylin.shape, rng.uniform(0, np.pi)
        )
        haematoxylin[spot] = rng.uniform(0.5, 0.9)


Draw = Callable[[Rng, float, float, float, Dye, Dye], Mask]


def _place_glands(rng: Rng, draw: Draw, eosin: Dye, haematoxylin: Dye, mask: Mask) -> None:
    size = mask.shape[0]
    wanted = rng.uniform(0.25, 0.45)
    for _ in range(60):
        if mask.mean() >= wanted:
            return
        radius = rng.uniform(11, 17)
        row, column = rng.uniform(0, size, 2)
        around = disk((row, column), radius + 2, shape=mask.shape)
        if not mask[around].any():
            mask |= draw(rng, row, column, radius, eosin, haematoxylin)


def _round_gland(rng: Rng, row: float, column: float, radius: float, eosin: Dye, haematoxylin: Dye) -> Mask:
    inside = _filled(haematoxylin.shape, disk((row, column), radius, shape=haematoxylin.shape))
    eosin[inside], haematoxylin[inside] = 0.4, 0.3
    lumen = disk((row, column), radius * rng.uniform(0.4, 0.55), shape=haematoxylin.shape)
    eosin[lumen], haematoxylin[lumen] = 0.12, 0.05
    number = int(2 * np.pi * (radius - 2.5) / 4)
    for angle in np.arange(number) * 2 * np.pi / number + rng.uniform(0, np.pi):
        centre = row + (radius - 2.5) * np.sin(angle), column + (radius - 2.5) * np.cos(angle)
        spot = ellipse(*centre, 1.4, 2.0, haematoxylin.shape, rotation=np.pi / 2 - angle)
        haematoxylin[spot] = rng.uniform(0.75, 0.95)
    return inside


def _crowded_gland(rng: Rng, row: float, column: float, radius: float, eosin: Dye, haematoxylin: Dye) -> Mask:
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    wobble = sum(
        rng.uniform(0.05, 0.16) * np.cos(order * angles + rng.uniform(0, 2 * np.pi)) for order in (2, 3, 5)
    )
    reach = radius * (1 + wobble)
    outline = polygon(row + reach * np.sin(angles), column + reach * np.cos(angles), haematoxylin.shape)
    inside = _filled(haematoxylin.shape, outline)
    eosin[inside], haematoxylin[inside] = 0.2, 0.16
    pixels = np.argwhere(inside)
    for _ in range(len(pixels) // 18):
        spot_row, spot_column = pixels[rng.integers(len(pixels))] + rng.uniform(-0.5, 0.5, 2)
        radii = rng.uniform(1.2, 2.4, 2)
        spot = _filled(
            haematoxylin.shape,
            ellipse(spot_row, spot_column, *radii, haematoxylin.shape, rotation=rng.uniform(0, np.pi)),
        )
        haematoxylin[spot & inside] = rng.uniform(0.45, 1.0)
    return inside


def _filled(shape: tuple[int, ...], pixels: tuple[NDArray[np.intp], NDArray[np.intp]]) -> Mask:
    mask = np.zeros(shape, bool)
    mask[pixels] = True
    return mask


def _stain(rng: Rng, eosin: Dye, haematoxylin: Dye) -> Image3:
    """Colour the two dyes by Beer-Lambert, with a hue, strength and exposure of the picture's own."""
    dyes = np.array([[0.10, 0.75, 0.45], [0.75, 0.95, 0.35]]) + rng.uniform(-0.12, 0.12, (2, 3))
    strength = rng.uniform(0.6, 1.7, 2)
    amounts = [
        gaussian_filter(dye, 0.6) * factor
        for dye, factor in zip((eosin, haematoxylin), strength, strict=True)
    ]
    light = rng.uniform(0.65, 1.0) * np.exp(
        -sum(amount[..., None] * dye for amount, dye in zip(amounts, dyes, strict=True))
    )
    noisy = light + rng.normal(0, 0.012, light.shape)
    return (np.clip(noisy, 0, 1) * 255).round().astype(np.uint8)


def _write(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **({"lossless": True} if path.suffix == ".webp" else {}))


def _write_glas_picture(root: Path, name: str, image: Image3, mask: Mask, *, original: bool) -> None:
    if original:
        _write(root / f"{name}.bmp", image)
        # The released masks number the glands, they do not only tell them from the rest.
        _write(root / f"{name}_anno.bmp", mask.astype(np.uint8) * 3)
    else:
        _write(root / "images" / f"{name}.webp", image)
        _write(root / "masks" / f"{name}.png", mask.astype(np.uint8) * 255)


def _write_fold(folder: Path, entries: Sequence[tuple[str, int]], size: int) -> None:
    folder.mkdir(parents=True)
    paths = [f"{GLAS_FOLDER}/{name}" for name, _ in entries]
    lines = {
        "image_ids": [f"{path}.bmp" for path in paths],
        "class_labels": [f"{path}.bmp,{label}" for path, (_, label) in zip(paths, entries, strict=True)],
        "image_sizes": [f"{path}.bmp,{size},{size}" for path in paths],
        "localization": [f"{path}.bmp,{path}_anno.bmp," for path in paths],
    }
    for name, content in lines.items():
        (folder / f"{name}.txt").write_text("\n".join(content) + "\n")
