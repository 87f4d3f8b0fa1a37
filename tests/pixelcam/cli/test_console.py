"""What the command line prints of names that are no text, or hold line breaks."""

from __future__ import annotations

import os

from pixelcam.cli.console import print_error, print_result, show_progress
from pixelcam.events import Event

NAME = os.fsdecode(b"caf\xe9") + "\nb.png"


def test_an_error_is_one_line_whatever_the_name(capsys):
    print_error(f"{NAME} does not exist.")
    assert capsys.readouterr().err == "caf\\udce9\\nb.png does not exist.\n"


def test_a_result_with_a_name_that_is_no_text_is_printed(capsys):
    print_result("caf\udce9.png: normal")
    assert capsys.readouterr().out == "caf\\udce9.png: normal\n"


def test_an_agreement_says_what_it_is_with(capsys):
    with show_progress(epochs=True) as sink:
        sink(Event("epoch", stage="finetune", epoch=1, epochs=2, metrics={"loss": 0.5, "agreement": 90.0}))
    assert "loss 0.5  90 % agreement with the strokes it was taught" in "".join(capsys.readouterr())
