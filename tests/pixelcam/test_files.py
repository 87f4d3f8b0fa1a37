from __future__ import annotations

import os
import sys

import pytest

from pixelcam.errors import DatasetError, PixelCAMError, ProjectError
from pixelcam.files import inside, own, refuse_links_below, remove_made

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows makes links for administrators alone")
OUTSIDE = [
    "/etc/passwd",
    "//server/share",
    "..",
    "../x",
    "a/../../x",
    "a/..",
    "C:/Windows",
    "C:x",
    "\\\\server\\share\\x",
    "..\\x",
    "a\\b",
    "a\0b",
    "",
    " ",
    ".",
    "./",
    None,
    7,
    b"x",
]


@pytest.mark.parametrize("name", OUTSIDE, ids=repr)
def test_a_name_that_leads_out_is_refused_in_one_sentence(tmp_path, name):
    with pytest.raises(ProjectError) as raised:
        inside(tmp_path, name, error=ProjectError)
    assert "\n" not in str(raised.value)
    assert str(raised.value).endswith(".")
    with pytest.raises(ProjectError):
        own(tmp_path, name, error=ProjectError)


@pytest.mark.parametrize("name", OUTSIDE, ids=repr)
def test_no_part_of_a_name_may_lead_out(tmp_path, name):
    with pytest.raises(PixelCAMError):
        inside(tmp_path, "a", name)
    with pytest.raises(PixelCAMError):
        inside(tmp_path, name, "a")


@pytest.mark.parametrize("name", ["a.png", "a/b.png", "a/b c (1).png", "..a", "a..b/..c", "Ä/ö", ".x"])
def test_a_name_that_stays_is_joined_as_it_is(tmp_path, name):
    assert inside(tmp_path, name) == tmp_path / name
    assert own(tmp_path, name) == tmp_path / name


def test_the_message_names_the_file_that_gave_the_name(tmp_path):
    with pytest.raises(DatasetError, match=r"in fold\.txt leads out of"):
        inside(tmp_path, "../x", error=DatasetError, source="fold.txt")


def test_a_very_long_name_is_not_repeated_whole(tmp_path):
    with pytest.raises(PixelCAMError) as raised:
        inside(tmp_path, "../" + "x" * 100_000)
    assert len(str(raised.value)) < 500 + len(str(tmp_path))


@pytest.mark.parametrize("name", ["x" * 256, "ä" * 128, "a/" + "x" * 400 + ".png", "a/" * 2000 + "b"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path, name):
    with pytest.raises(DatasetError, match=r"in fold\.txt is longer than any file can have"):
        inside(tmp_path, name, error=DatasetError, source="fold.txt")
    assert inside(tmp_path, "a/" + "x" * 255).name == "x" * 255


def test_half_a_surrogate_is_refused(tmp_path):
    with pytest.raises(PixelCAMError):
        inside(tmp_path, "\ud800.png")


@posix
def test_a_link_is_followed_to_where_it_ends(tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    root.mkdir()
    other.mkdir()
    (other / "secret.png").write_bytes(b"x")
    (root / "real").mkdir()
    (root / "out").symlink_to(other)
    (root / "out.png").symlink_to(other / "secret.png")
    (root / "in").symlink_to("real")
    for name in ("out", "out/secret.png", "out/new.png", "out.png"):
        with pytest.raises(PixelCAMError):
            inside(root, name)
        with pytest.raises(PixelCAMError, match="symbolic link"):
            own(root, name)
    assert inside(root, "in/a.png") == root / "in" / "a.png"
    with pytest.raises(PixelCAMError, match="symbolic link"):
        own(root, "in/a.png")


@posix
def test_links_in_a_circle_and_to_nothing_are_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "gone").symlink_to("/nowhere/at/all")
    for name in ("a", "a/x", "gone"):
        with pytest.raises(PixelCAMError):
            inside(tmp_path, name)


@posix
def test_the_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert inside(tmp_path / "link", "a") == tmp_path / "link" / "a"
    assert own(tmp_path / "link", "a") == tmp_path / "link" / "a"


def test_only_a_folder_of_ours_is_removed(tmp_path):
    place = tmp_path / "images" / "1"
    for name in ("map-0123abcd.zarr", "map-0123abcd.zarr.old", "other"):
        (place / name).mkdir(parents=True)
    victim = tmp_path / "map-0123abcd.zarr"
    victim.mkdir()
    pattern = r"map-[0-9a-f]{8}\.zarr"
    for name in (
        "other",
        "../../map-0123abcd.zarr",
        str(victim),
        "map-0123abcd.zarr.old",
        ".",
        "",
        None,
        b"x",
    ):
        remove_made(place, name, pattern)
    assert victim.is_dir()
    assert sorted(path.name for path in place.iterdir()) == [
        "map-0123abcd.zarr",
        "map-0123abcd.zarr.old",
        "other",
    ]
    remove_made(place, "map-0123abcd.zarr", pattern)
    assert sorted(path.name for path in place.iterdir()) == ["map-0123abcd.zarr.old", "other"]


@posix
def test_what_a_link_leads_to_is_not_removed(tmp_path):
    (tmp_path / "victim" / "map-0123abcd.zarr").mkdir(parents=True)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1").symlink_to(tmp_path / "victim")
    (tmp_path / "map-0123abcd.zarr").symlink_to(tmp_path / "victim")
    remove_made(tmp_path / "images" / "1", "map-0123abcd.zarr", r"map-[0-9a-f]{8}\.zarr")
    remove_made(tmp_path, "map-0123abcd.zarr", r"map-[0-9a-f]{8}\.zarr")
    assert (tmp_path / "victim" / "map-0123abcd.zarr").is_dir()


@posix
def test_a_pipe_is_not_waited_on(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ProjectError, match="is a pipe or a device"):
        own(tmp_path, "pipe", error=ProjectError)


@posix
def test_a_link_anywhere_below_is_found(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"x")
    refuse_links_below(tmp_path / "a", ProjectError)
    refuse_links_below(tmp_path / "gone", ProjectError)
    (tmp_path / "a" / "b" / "link").symlink_to("file")
    with pytest.raises(ProjectError, match="symbolic link"):
        refuse_links_below(tmp_path / "a", ProjectError)
