"""Tables are read as spreadsheets and people write them, and what is unclear is named as it stands there."""

from __future__ import annotations

import pytest

from pixelcam.datasets.tables import read_rows, read_table, split_labels
from pixelcam.errors import DatasetError

WANTED = [{"image": "a b.png", "labels": "tumour"}, {"image": "c.png", "labels": "Drüse"}]


def cells(path):
    return [row.cells for row in read_table(path, ("image", "labels"))]


@pytest.mark.parametrize(
    "text",
    [
        "image,labels\na b.png,tumour\nc.png,Drüse\n",
        "image, labels\na b.png, tumour\nc.png, Drüse\n",
        "image;labels\na b.png;tumour\nc.png;Drüse\n",
        "image\tlabels\na b.png\ttumour\nc.png\tDrüse\n",
        "Image , LABELS \n a b.png ,tumour \nc.png,Drüse",
        '"image","labels"\n"a b.png","tumour"\n"c.png","Drüse"\n',
        'image, "labels"\n"a b.png", "tumour"\nc.png, Drüse\n',
        "image,labels,,\na b.png,tumour,,\nc.png,Drüse,,\n",
        "\n\nimage,labels\n\na b.png,tumour\n,\n\nc.png,Drüse\n\n",
        "sep=;\nimage;labels\na b.png;tumour\nc.png;Drüse\n",
        "image,label\na b.png,tumour\nc.png,Drüse\n",
        "image,labels\r\na b.png,tumour\r\nc.png,Drüse\r\n",
        "image,labels\ra b.png,tumour\rc.png,Drüse\r",
        "image,labels\na b.png,tumour\nc.png,Drüse\na b.png,tumour\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_a_table_of_any_usual_spelling_is_read(tmp_path, text, encoding):
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    assert cells(tmp_path / "t.csv") == WANTED


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "Bild,labels\na,b\n",
            r"lacks the column image: it needs image and labels, but has 'Bild', 'labels'\.",
        ),
        ("image,labels,Labels\na,b,c\n", "has the column labels several times"),
        ("image,labels\n\na,b,c\n", "Line 3 .* more values than there are columns"),
        ("image,labels\n", "lists no images"),
        ("", "lacks the column image"),
        ("image,labels\n\0\0\0", "is not a text file"),
        ("image,labels\na,b\x07\n", "is not a text file"),
    ],
)
def test_what_does_not_fit_is_named_as_it_stands_in_the_file(tmp_path, text, words):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DatasetError, match=words):
        read_table(tmp_path / "t.csv", ("image", "labels"))


def test_lines_are_counted_as_an_editor_counts_them(tmp_path):
    (tmp_path / "t.csv").write_text("\nimage,labels\n\na,x\n,\nb,y\n")
    assert [row.line for row in read_table(tmp_path / "t.csv", ("image", "labels"))] == [4, 6]


@pytest.mark.parametrize(
    ("cell", "separator", "labels"),
    [
        ("tumour;necrosis", ",", {"tumour", "necrosis"}),
        (" tumour ; clear cell ;", ",", {"tumour", "clear cell"}),
        ("tumour|necrosis", ",", {"tumour", "necrosis"}),
        ("carcinoma, clear cell", ",", {"carcinoma, clear cell"}),
        ("tumour,necrosis", ";", {"tumour", "necrosis"}),
        ("tumour;necrosis", "\t", {"tumour", "necrosis"}),
        ("", ",", set()),
    ],
)
def test_labels_in_a_cell_stand_apart_by_what_the_columns_do_not(cell, separator, labels):
    assert split_labels(cell, separator) == labels


@pytest.mark.parametrize("separator", [",", ";", "\t", ", ", " ; "])
def test_rows_without_names_are_read_by_any_separator(tmp_path, separator):
    text = "\n".join(separator.join(row) for row in (["a (1).bmp", "0"], [], ["b c.bmp", "1"]))
    (tmp_path / "t.txt").write_text(text, encoding="utf-8-sig")
    assert read_rows(tmp_path / "t.txt", 2) == [["a (1).bmp", "0"], ["b c.bmp", "1"]]
